/* bakrypt-login.js by itself, with a clock and a service of the test's own. Node runs it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { LoginError, Session } from "../../deploy/page/bakrypt-login.js";

const BASE = "https://site.example/account/";

/** Replaces the clocks and timers: time passes by pass() alone. */
class Clock {
	wall = 1e12;
	steady = 0;
	timers = new Map();
	count = 0;

	install() {
		Date.now = () => this.wall;
		// Read-only in some versions of Node.
		Object.defineProperty(globalThis, "performance",
			{ value: { now: () => this.steady }, configurable: true, writable: true });
		globalThis.setTimeout = (call, wait) => {
			this.timers.set(++this.count, { call, at: this.steady + wait });
			return this.count;
		};
		globalThis.clearTimeout = (id) => this.timers.delete(id);
	}

	async pass(seconds) {
		const end = this.steady + seconds * 1000;
		for (;;) {
			const due = [...this.timers].filter(([, { at }]) => at <= end)
				.sort(([, one], [, other]) => one.at - other.at)[0];
			const to = due ? Math.max(due[1].at, this.steady) : end;
			this.wall += to - this.steady;
			this.steady = to;
			if (!due)
				return;
			this.timers.delete(due[0]);
			due[1].call();
			await settle();
		}
	}

	/** The computer sleeps: the wall's clock goes on, the steady one and the timers do not. */
	sleep(seconds) {
		this.wall += seconds * 1000;
	}
}

/** Lets everything that was promised come about. */
async function settle() {
	for (let turn = 0; turn < 10; turn += 1)
		await new Promise((done) => setImmediate(done));
}

const clock = new Clock();
clock.install();

let asked;
let answers;
let given;

/** A token; the n-th has the number n. */
function token(more) {
	given += 1;
	return { status: 200, body: { access_token: `access-${given}`, token_type: "Bearer",
		expires_in: 36000, scope: "read", refresh_token: `refresh-${given}`, ...more } };
}

const refusal = (status, error, headers) =>
	({ status, headers, body: { error, error_description: "", request_id: "id" } });

function begin(...first) {
	[asked, answers, given] = [[], first, 0];
	clock.timers.clear();
	globalThis.fetch = async (url, options) => {
		asked.push({ url: String(url), options, fields: JSON.parse(options.body) });
		const next = answers.shift() ?? token();
		const { status, body, headers } = await (typeof next === "function" ? next(options) : next);
		return new Response(status === 204 ? null : JSON.stringify(body), { status, headers });
	};
	return new Session({ base: BASE });
}

const fails = (promise, traits) => assert.rejects(promise, (error) => {
	assert(error instanceof LoginError);
	for (const [name, value] of Object.entries(traits))
		assert.equal(error[name], value, name);
	return true;
});

test("login sends one POST, and gives the token", async () => {
	const session = begin();
	const got = await session.login("alice", "secret");
	assert.equal(got.access_token, "access-1");
	assert.equal(session.token, got);
	assert(Object.isFrozen(got));
	const { url, options, fields } = asked[0];
	assert.equal(url, `${BASE}login`);
	assert.deepEqual(fields, { username: "alice", password: "secret" });
	assert.deepEqual([options.method, options.redirect, options.cache], ["POST", "error", "no-store"]);
});

test("errors have their traits, and nothing of the password", async () => {
	const session = begin(refusal(429, "slow_down", { "Retry-After": "7", "X-Request-Id": "x1" }));
	await fails(session.login("alice", "secret"), { status: 429, code: "slow_down",
		requestId: "x1", retryAfter: 7, advice: "Try again in 7 s.", isFinal: false });
	answers.push(refusal(401, "invalid_grant"));
	await fails(session.login("alice", "secret"), { status: 401, requestId: "id",
		message: "The user name or the password is wrong." });
	answers.push(refusal(403, "invalid_request"));
	await fails(session.login("alice", "secret"), { status: 403,
		message: "This site may not use the sign-in service." });
	answers.push(refusal(403, "access_denied"));
	await fails(session.login("alice", "secret"), { status: 403,
		message: "Bakrypt does not let this account in." });
	answers.push(() => Promise.reject(new TypeError("secret")));
	await fails(session.login("alice", "secret"), { status: 0, code: "network" });
	answers.push({ status: 200, body: { access_token: 7 } });
	await fails(session.login("alice", "secret"), { status: 200, code: "bad_answer" });
	assert.equal(session.token, null);
});

test("no answer in time", async () => {
	const session = begin(({ signal }) => new Promise((_, fail) =>
		signal.addEventListener("abort", () => fail(signal.reason))));
	const done = fails(session.login("alice", "secret"), { code: "timeout" });
	await settle();
	await clock.pass(31);
	await done;
});

test("refreshes at once are one, and logout takes the token of the one before it", async () => {
	const session = begin();
	await session.login("alice", "secret");
	answers.push(token(), { status: 204 });
	const all = [session.refresh(), session.refresh(), session.logout(), session.refresh()];
	const [one, other] = await Promise.all(all);
	assert.equal(one, other);
	assert.deepEqual(asked.map(({ url }) => url.slice(BASE.length)), ["login", "refresh", "logout"]);
	assert.deepEqual(asked[2].fields, { refresh_token: "refresh-2", access_token: "access-2" });
	assert.equal(session.token, null);
	await clock.pass(40000);
	assert.equal(asked.length, 3);
});

test("renewal comes a minute before expiry, again and again", async () => {
	const session = begin();
	await session.login("alice", "secret");
	await clock.pass(35939);
	assert.equal(asked.length, 1);
	await clock.pass(2);
	assert.equal(session.token.access_token, "access-2");
	await clock.pass(35942);
	assert.equal(session.token.access_token, "access-3");
	session.forget();
});

test("a computer that slept renews when it wakes, once", async () => {
	const session = begin();
	await session.login("alice", "secret");
	clock.sleep(40000);
	assert.equal(session.isSignedIn, false);
	const asking = [session.accessToken(), session.accessToken()];
	await clock.pass(16);
	assert.deepEqual(await Promise.all(asking), ["access-2", "access-2"]);
	assert.equal(asked.length, 2);
	session.forget();
});

test("a wall's clock that is set back does not lengthen a token's life", async () => {
	const session = begin();
	await session.login("alice", "secret");
	clock.wall -= 1e9;
	await clock.pass(100);
	assert.equal(Math.round(session.secondsLeft), 35900);
	session.forget();
});

test("a failed renewal is told, and tried again after a growing pause", async () => {
	const session = begin();
	const errors = [];
	session.addEventListener("error", ({ error }) => errors.push(error.status));
	await session.login("alice", "secret");
	answers.push(refusal(503, "temporarily_unavailable"), refusal(503, "temporarily_unavailable"));
	await clock.pass(35941);
	assert.deepEqual([asked.length, errors], [2, [503]]);
	await clock.pass(4);
	assert.equal(asked.length, 2);
	await clock.pass(2);
	assert.equal(asked.length, 3);
	await clock.pass(11);
	assert.equal(session.token.access_token, "access-2");
	session.forget();
});

test("a refused renewal ends the session", async () => {
	const session = begin();
	const reasons = [];
	session.addEventListener("change", ({ reason }) => reasons.push(reason));
	await session.login("alice", "secret");
	answers.push(refusal(401, "invalid_grant"));
	await clock.pass(35941);
	assert.deepEqual(reasons, ["login", "ended"]);
	await fails(session.accessToken(), { code: "signed_out", isFinal: true });
});

test("a token whose life is a moment is renewed once a second at most", async () => {
	const session = begin();
	answers.push(...[1, 2, 3, 4].map(() => token({ expires_in: 0 })));
	given = 0;
	await session.login("alice", "secret");
	await clock.pass(3.5);
	assert(asked.length >= 3 && asked.length <= 4, String(asked.length));
	session.forget();
});

test("without a refresh token it expires, and says so once", async () => {
	const session = begin();
	const reasons = [];
	session.addEventListener("change", ({ reason }) => reasons.push(reason));
	answers.push(token({ refresh_token: undefined, expires_in: 10 }));
	await session.login("alice", "secret");
	await clock.pass(60);
	assert.deepEqual(reasons, ["login", "expired"]);
	await fails(session.accessToken(), { code: "expired" });
	await fails(session.refresh(), { code: "no_refresh_token" });
	session.forget();
});

test("a renewal without a new refresh token goes on with the old one", async () => {
	const session = begin();
	await session.login("alice", "secret");
	answers.push(token({ refresh_token: undefined }));
	const got = await session.refresh();
	assert.equal(got, session.token);
	assert(Object.isFrozen(got));
	assert.equal(got.access_token, "access-2");
	assert.equal(got.refresh_token, "refresh-1");
	await session.refresh();
	assert.deepEqual(asked[2].fields, { refresh_token: "refresh-1" });
	assert.equal(session.token.refresh_token, "refresh-3");
});

test("forget calls off what is under way, and what waits for it", async () => {
	const session = begin(({ signal }) => new Promise((_, fail) =>
		signal.addEventListener("abort", () => fail(signal.reason))));
	const first = fails(session.login("alice", "secret"), { code: "aborted" });
	const second = fails(session.login("bob", "secret"), { code: "aborted" });
	await settle();
	session.forget();
	await Promise.all([first, second]);
	assert.deepEqual([asked.length, session.token, clock.timers.size], [1, null, 0]);
});
