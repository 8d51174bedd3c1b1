-- JSON logins, a new user name in each. Every answer's status is looked at, and in every hundredth
-- whether there is a token. Prints one line of JSON.
local SAMPLE = 100
local HEADERS = {["Content-Type"] = "application/json"}
local threads = {}

-- Global, since done() reads them from outside.
count, answers, bad_status, bad_body = 0, 0, 0, 0

function setup(thread)
	table.insert(threads, thread)
end

function request()
	count = count + 1
	return wrk.format("POST", "/login", HEADERS, string.format(
		'{"username":"user-%d","password":"correct horse battery staple"}', count))
end

function response(status, headers, body)
	answers = answers + 1
	if status ~= 200 then
		bad_status = bad_status + 1
	elseif answers % SAMPLE == 1 and not body:find('"access_token"%s*:%s*"') then
		bad_body = bad_body + 1
	end
end

function done(summary, latency)
	local wrong_status, wrong_body = 0, 0
	for _, thread in ipairs(threads) do
		wrong_status = wrong_status + thread:get("bad_status")
		wrong_body = wrong_body + thread:get("bad_body")
	end
	local lost = summary.errors
	io.write(string.format('{"logins":%d,"seconds":%.6f,"status":%d,"body":%d,"socket":%d,'
		.. '"timeout":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
		summary.requests - wrong_status, summary.duration / 1e6, wrong_status, wrong_body,
		lost.connect + lost.read + lost.write, lost.timeout,
		latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
