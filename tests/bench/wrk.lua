-- JSON logins, a new user name in each. Every answer's status is looked at, and in every hundredth
-- whether there is a token. Prints one line of JSON, as logins/main.c.
local SAMPLE = 100
local HEADERS = {["Content-Type"] = "application/json"}
local threads = {}

-- Global, since done() reads them from outside.
count, answers, bad_body, by_status = 0, 0, 0, {}

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
		by_status[status] = (by_status[status] or 0) + 1
	elseif answers % SAMPLE == 1 and not body:find('"access_token"%s*:%s*"') then
		bad_body = bad_body + 1
	end
end

function done(summary, latency)
	local lost, wrong = summary.errors, 0
	local faults = string.format('"socket":%d,"timeout":%d', lost.connect + lost.read + lost.write,
		lost.timeout)
	for _, thread in ipairs(threads) do
		faults = faults .. string.format(',"body":%d', thread:get("bad_body"))
		for status, seen in pairs(thread:get("by_status")) do
			faults = faults .. string.format(',"%d":%d', status, seen)
			wrong = wrong + seen
		end
	end
	io.write(string.format('{"logins":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"faults":{%s}}\n',
		summary.requests - wrong, summary.duration / 1e6, latency:percentile(50) / 1e3,
		latency:percentile(99) / 1e3, faults))
end
