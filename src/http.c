#include "http.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "form.h"

#define RANDOM_ID_BYTES 16
#define RANDOM_STORE_BYTES (16 * RANDOM_ID_BYTES) /* up to 256 come whole, whatever signals do */

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* As in the C locale, the only one here: the program never calls setlocale(). */
static bool is_alnum(char c)
{
	return isalnum((unsigned char)c);
}

void http_init(struct http_exchange *x, void (*finish)(struct http_exchange *x))
{
	*x = (struct http_exchange){.finish = finish};
	secret_init(&x->request.body, BODY_MAX_BYTES);
	secret_init(&x->reply.body, ANSWER_MAX_BYTES);
}

void http_clear(struct http_exchange *x)
{
	if (!x)
		return;
	secret_clear(&x->request.body);
	secret_clear(&x->reply.body);
}

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} rows[] = {
		{200, "OK"},
		{204, "No Content"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{413, "Content Too Large"},
		{415, "Unsupported Media Type"},
		{429, "Too Many Requests"},
		{500, "Internal Server Error"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		if (rows[i].status == status)
			return rows[i].reason;
	}
	return "Unknown";
}

/* A header line, where there is a value for it. */
static bool write_header(struct buf *head, const char *name, const char *value)
{
	return !value || (buf_append_str(head, name) && buf_append_str(head, ": ") &&
			  buf_append_str(head, value) && buf_append_str(head, "\r\n"));
}

static bool write_number(struct buf *head, const char *name, size_t value)
{
	return buf_append_str(head, name) && buf_append_str(head, ": ") &&
	       buf_append_number(head, value) && buf_append_str(head, "\r\n");
}

static bool write_status(struct buf *head, int status)
{
	return buf_append_str(head, "Status: ") && buf_append_number(head, (size_t)status) &&
	       buf_append_str(head, " ") && buf_append_str(head, http_reason(status)) &&
	       buf_append_str(head, "\r\n");
}

/* Cross-origin resource sharing (Fetch section 3.2), without credentials: there are no cookies. */
static bool write_sharing(struct buf *head, const struct http_reply *reply)
{
	const struct origin_text *origin = &reply->allow_origin;

	if (!origin->text)
		return true;
	return buf_append_str(head, "Access-Control-Allow-Origin: ") &&
	       buf_append(head, origin->text, origin->len) &&
	       buf_append_str(head, "\r\nAccess-Control-Expose-Headers: Retry-After, "
				    "X-Request-Id\r\n") &&
	       (!reply->allow_methods ||
		(write_header(head, "Access-Control-Allow-Methods", reply->allow_methods) &&
		 buf_append_str(head, "Access-Control-Allow-Headers: Content-Type\r\n"
				      "Access-Control-Max-Age: " PREFLIGHT_MAX_AGE "\r\n")));
}

bool http_write_head(const struct http_exchange *x, struct buf *head)
{
	const struct http_reply *reply = &x->reply;
	size_t body_len = secret_len(&reply->body);
	bool may_have_body = reply->status != 204;

	if (!write_status(head, reply->status))
		return false;
	if (may_have_body && body_len > 0 &&
	    !write_header(head, "Content-Type", "application/json"))
		return false;
	if (may_have_body && !write_number(head, "Content-Length", body_len))
		return false;
	if (reply->retry_after_s && !write_number(head, "Retry-After", reply->retry_after_s))
		return false;
	return buf_append_str(head, "Cache-Control: no-store\r\n"
				    "Pragma: no-cache\r\n"
				    "X-Content-Type-Options: nosniff\r\n"
				    "Vary: Origin\r\n") &&
	       write_sharing(head, reply) &&
	       write_header(head, "X-Request-Id", x->request_id[0] ? x->request_id : NULL) &&
	       write_header(head, "Allow", reply->allow) &&
	       write_header(head, "Accept", reply->accept) &&
	       write_header(head, "WWW-Authenticate", reply->challenge) &&
	       buf_append_str(head, "\r\n");
}

bool http_read_length(const char *text, size_t *ret_bytes)
{
	size_t bytes = 0;

	if (!text || !*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		size_t digit = (size_t)(*text - '0');
		bytes = bytes > (SIZE_MAX - digit) / 10 ? SIZE_MAX : bytes * 10 + digit;
	}
	*ret_bytes = bytes;
	return true;
}

enum http_body_state http_check_length(const char *content_length, size_t body_bytes)
{
	size_t declared_bytes;

	if (!http_read_length(content_length, &declared_bytes))
		return HTTP_BODY_WHOLE;
	if (declared_bytes > BODY_MAX_BYTES)
		return HTTP_BODY_TOO_LARGE;
	return declared_bytes == body_bytes ? HTTP_BODY_WHOLE : HTTP_BODY_CUT;
}

/* What the client asked for. REQUEST_URI is the one variable that every server fills alike; the
 * others stand in where something in between has lost it. */
static const char *find_target(http_variable *get, void *context)
{
	static const char *const names[] = {"REQUEST_URI", "DOCUMENT_URI", "PATH_INFO",
					    "SCRIPT_NAME"};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		const char *target = get(context, names[i]);

		if (target && *target)
			return target;
	}
	return NULL;
}

void http_read_variables(struct http_request *request, http_variable *get, void *context)
{
	request->method = get(context, "REQUEST_METHOD");
	request->target = find_target(get, context);
	request->query = get(context, "QUERY_STRING");
	request->content_type = get(context, "CONTENT_TYPE");
	request->client = get(context, "REMOTE_ADDR");
	request->request_id = get(context, "HTTP_X_REQUEST_ID");
	request->origin = get(context, "HTTP_ORIGIN");
	request->fetch_site = get(context, "HTTP_SEC_FETCH_SITE");
	request->host = get(context, "HTTP_HOST");
}

static bool is_request_id(const char *text)
{
	size_t len = 0;

	for (; text[len]; len++) {
		if (len == REQUEST_ID_MAX_BYTES)
			return false;
		if (!is_alnum(text[len]) && !strchr("._-", text[len]))
			return false;
	}
	return len > 0;
}

/* An id tells log lines apart and guards nothing; so if the kernel has no randomness, the clock
 * and a counter do. Randomness for several ids is asked for at once. */
static void fill_random(unsigned char bytes[RANDOM_ID_BYTES])
{
	static unsigned char store[RANDOM_STORE_BYTES];
	static size_t left;
	static uint64_t counter;

	if (left < RANDOM_ID_BYTES && getrandom(store, sizeof(store), 0) == (ssize_t)sizeof(store))
		left = sizeof(store);
	if (left >= RANDOM_ID_BYTES) {
		left -= RANDOM_ID_BYTES;
		memcpy(bytes, store + left, RANDOM_ID_BYTES);
		return;
	}

	struct timespec now = {0};
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t words[2] = {(uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec, ++counter};
	_Static_assert(sizeof(words) == RANDOM_ID_BYTES, "an id is two words");
	memcpy(bytes, words, sizeof(words));
}

void http_make_request_id(char ret_id[REQUEST_ID_MAX_BYTES + 1], const char *offered)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char bytes[RANDOM_ID_BYTES];

	if (offered && is_request_id(offered)) {
		memcpy(ret_id, offered, strlen(offered) + 1);
		return;
	}
	fill_random(bytes);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		ret_id[2 * i] = digits[bytes[i] >> 4];
		ret_id[2 * i + 1] = digits[bytes[i] & 0x0f];
	}
	ret_id[2 * sizeof(bytes)] = '\0';
}

/* Where the path of a target starts: itself in origin form, behind scheme and host in absolute
 * form ("" if nothing is there). NULL for the forms without a path. */
static const char *find_path(const char *target)
{
	if (target[0] == '/')
		return target;

	const char *scheme_end = target;
	while (is_alnum(*scheme_end) || (*scheme_end && strchr("+-.", *scheme_end)))
		scheme_end++;
	if (scheme_end == target || strncmp(scheme_end, "://", 3) != 0)
		return NULL;
	return scheme_end + 3 + strcspn(scheme_end + 3, "/?#");
}

/*
 * What follows the last slash of a normalised path is what follows it in the path as it came, and
 * nothing where that is a dot segment: none of "//", "." and ".." further up reaches it.
 *
 * "%2F" in the last segment is refused: servers in front disagree whether it separates, so to one
 * of them that segment would be another than to us. Further up it is a byte of its segment.
 */
bool http_read_route(const char *target, char *ret_segment, size_t size)
{
	const char *path = target ? find_path(target) : NULL;
	if (!path)
		return false;

	const char *end = path + strcspn(path, "?#");
	const char *segment = path;
	size_t len = 0;
	bool has_encoded_slash = false;
	for (const char *at = path; at < end; at += form_encoded_length(at)) {
		int byte = form_decode_byte(at, end);
		if (byte < 0)
			return false;
		if (*at == '/') {
			segment = at + 1;
			len = 0;
			has_encoded_slash = false;
		} else {
			len++;
			has_encoded_slash |= byte == '/';
		}
	}
	if (has_encoded_slash || len >= size)
		return false;

	char *out = ret_segment;
	for (const char *at = segment; at < end; at += form_encoded_length(at))
		*out++ = (char)form_decode_byte(at, end);
	*out = '\0';
	if (strcmp(ret_segment, ".") == 0 || strcmp(ret_segment, "..") == 0)
		*ret_segment = '\0';
	return true;
}

static const char *skip_blanks(const char *text)
{
	return text + strspn(text, " \t");
}

/* The length of a token (RFC 9110 section 5.6.2), 0 for none. */
static size_t token_length(const char *text)
{
	size_t len = 0;
	while (is_alnum(text[len]) || (text[len] && strchr("!#$%&'*+-.^_`|~", text[len])))
		len++;
	return len;
}

/* The length of a quoted string (section 5.6.4) with its quotes; 0 for one that does not end. */
static size_t quoted_length(const char *text)
{
	size_t len = 1;
	while (text[len] && text[len] != '"') {
		if (text[len] == '\\' && text[len + 1])
			len++;
		len++;
	}
	return text[len] ? len + 1 : 0;
}

/* Reads one name=value and moves *cursor past it. False if it is none, or a charset other than
 * utf-8. A quoted charset is compared as it stands: nobody escapes a letter of it. */
static bool read_parameter(const char **cursor)
{
	const char *name = *cursor;
	size_t name_len = token_length(name);
	if (!name_len || name[name_len] != '=')
		return false;

	const char *value = name + name_len + 1;
	bool is_quoted = *value == '"';
	size_t len = is_quoted ? quoted_length(value) : token_length(value);
	if (!len)
		return false;
	*cursor = value + len;
	if (name_len != strlen("charset") || strncasecmp(name, "charset", name_len) != 0)
		return true;

	if (is_quoted) {
		value++;
		len -= 2;
	}
	return len == strlen("utf-8") && strncasecmp(value, "utf-8", len) == 0;
}

/* The type named at *cursor, which is moved past it. */
static enum http_media_type read_type_name(const char **cursor)
{
	static const struct {
		const char *name;
		enum http_media_type type;
	} rows[] = {
		{"application/json", HTTP_MEDIA_JSON},
		{"application/x-www-form-urlencoded", HTTP_MEDIA_FORM},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		size_t len = strlen(rows[i].name);
		if (strncasecmp(*cursor, rows[i].name, len) == 0) {
			*cursor += len;
			return rows[i].type;
		}
	}
	return HTTP_MEDIA_OTHER;
}

enum http_media_type http_read_media_type(const char *content_type)
{
	if (!content_type)
		return HTTP_MEDIA_OTHER;

	const char *at = skip_blanks(content_type);
	enum http_media_type type = read_type_name(&at);
	for (at = skip_blanks(at); *at; at = skip_blanks(at)) {
		if (*at != ';')
			return HTTP_MEDIA_OTHER;
		at = skip_blanks(at + 1);
		if (*at && *at != ';' && !read_parameter(&at))
			return HTTP_MEDIA_OTHER;
	}
	return type;
}
