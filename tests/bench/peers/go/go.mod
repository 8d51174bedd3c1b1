module bench/login

go 1.19
