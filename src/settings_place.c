#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "settings.h"
#include "settings_file.h"

#define FILE_NAME "bakrypt-login.conf"

/* Whether path lies in the folder. Both are followed to where they really are. */
static bool is_inside(const char *path, const char *folder)
{
	char *real_path = realpath(path, NULL);
	char *real_folder = realpath(folder, NULL);
	size_t len = real_folder ? strlen(real_folder) : 0;
	bool is_inside = false;

	if (len > 0 && real_folder[len - 1] == '/')
		len--;
	if (real_path && real_folder)
		is_inside = strncmp(real_path, real_folder, len) == 0 && real_path[len] == '/';
	free(real_path);
	free(real_folder);
	return is_inside;
}

bool settings_is_kept(struct settings_reading *r, const struct settings_file *file,
		      const char *name)
{
	const char *published = getenv("DOCUMENT_ROOT");
	struct quoted_path path;
	struct quoted_path folder;

	settings_quote_path(&path, file->path);
	if (file->is_exposed) {
		settings_say(r, FAULT, 0,
			     "%s: others can read or change %s, which holds the secret; run: chmod "
			     "o= %s",
			     name, path.text, path.text);
		return false;
	}
	if (published && *published && is_inside(file->path, published)) {
		settings_say(r, FAULT, 0,
			     "%s: %s, which holds the secret, lies in %s, which the web server "
			     "publishes; move it out of there",
			     name, path.text, settings_quote_path(&folder, published));
		return false;
	}
	return true;
}

/* The home folder of whom the program runs as. A web server may not tell in HOME. The file is read
 * as it is: a look-up by way of the system's name services could ask a network. */
static char *find_home(void)
{
	const char *home = getenv("HOME");
	struct passwd *entry;
	char *copy = NULL;
	FILE *users;

	if (home && *home)
		return strdup(home);
	users = fopen("/etc/passwd", "re");
	if (!users)
		return NULL;
	while (!copy && (entry = fgetpwent(users))) {
		if (entry->pw_uid == geteuid())
			copy = strdup(entry->pw_dir);
	}
	fclose(users);
	return copy;
}

/* The folder and the name behind it, as a new text, if there is such a file. */
static char *find_in(const char *folder, size_t folder_len, const char *name)
{
	char *path = NULL;

	if (asprintf(&path, "%.*s%s", (int)folder_len, folder, name) < 0)
		return NULL;
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

char *settings_find_file(void)
{
	char program[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program));
	char *home = find_home();
	char *found = home ? find_in(home, strlen(home), "/.config/" FILE_NAME) : NULL;

	free(home);
	while (len > 0 && program[len - 1] != '/')
		len--;
	return found || len <= 0 ? found : find_in(program, (size_t)len, FILE_NAME);
}
