/*
 * A login by CGI as libcurl's examples lead to it: an easy handle with its defaults, among them the
 * certificate authorities of the system.
 *
 *	obvious-cgi		(CLIENT_ID, CLIENT_SECRET, TOKEN_URL, and the variables of CGI)
 */
#include "ask.h"

int main(void)
{
	static struct answer answer;
	char body[BODY_MAX_BYTES + 1];
	char *text;
	CURL *curl;

	body[fread(body, 1, BODY_MAX_BYTES, stdin)] = '\0';
	curl_global_init(CURL_GLOBAL_DEFAULT);
	curl = curl_easy_init();
	curl_easy_setopt(curl, CURLOPT_URL, getenv("TOKEN_URL"));
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 12L);
	text = log_in(curl, body, &answer);
	if (text)
		printf("Content-Type: application/json\r\n\r\n%s", text);
	else
		printf("Status: 500 Internal Server Error\r\n\r\n");
	free(text);
	curl_easy_cleanup(curl);
	curl_global_cleanup();
	return EXIT_SUCCESS;
}
