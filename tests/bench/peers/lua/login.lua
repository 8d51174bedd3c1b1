-- A login service inside of nginx: cosockets over kept TLS connections, HTTP/1.1 by hand.
-- nginx sets $token_host, $token_port, $token_path, $client_id and $client_secret.
local cjson = require "cjson.safe"

local function fail(status)
	ngx.status = status
	ngx.header.content_type = "application/json"
	ngx.print('{"error":"server_error"}')
	return ngx.exit(status)
end

local function read_answer(sock)
	local line = sock:receive("*l")
	local status = line and tonumber(line:match("^HTTP/1%.1 (%d+)"))
	local length
	repeat
		line = sock:receive("*l")
		if not line then
			return nil
		end
		local name, value = line:match("^([^:]+):%s*(.*)$")
		if name and name:lower() == "content-length" then
			length = tonumber(value)
		end
	until line == ""
	return status, length and sock:receive(length)
end

ngx.req.read_body()
local login = cjson.decode(ngx.req.get_body_data() or "")
if type(login) ~= "table" or type(login.username) ~= "string"
	or type(login.password) ~= "string" then
	return fail(400)
end
local form = ngx.encode_args({
	client_id = ngx.var.client_id,
	client_secret = ngx.var.client_secret,
	username = login.username,
	password = login.password,
	grant_type = "password",
})
local sock = ngx.socket.tcp()
sock:settimeout(12000)
if not sock:connect(ngx.var.token_host, ngx.var.token_port) then
	return fail(503)
end
if sock:getreusedtimes() == 0 and not sock:sslhandshake(nil, "localhost", true) then
	return fail(502)
end
sock:send({"POST ", ngx.var.token_path, " HTTP/1.1\r\nHost: localhost\r\n",
	"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ", #form, "\r\n\r\n", form})
local status, body = read_answer(sock)
if not status or not body then
	return fail(502)
end
sock:setkeepalive(60000, 16384)
local token = cjson.decode(body)
if status ~= 200 or type(token) ~= "table" or type(token.access_token) ~= "string" then
	return fail(502)
end
ngx.header.content_type = "application/json"
ngx.print(cjson.encode({
	access_token = token.access_token,
	expires_in = token.expires_in,
	token_type = token.token_type,
	scope = token.scope,
	refresh_token = token.refresh_token,
}))
