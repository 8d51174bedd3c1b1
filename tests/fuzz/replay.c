/* Gives each file that is named to a fuzz target, in the place of libFuzzer. */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

/* To be freed. */
static uint8_t *read_file(const char *path, size_t *ret_size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	size_t size = 0;
	size_t got;

	HOLD(file);
	do {
		data = realloc(data, size + 4096);
		HOLD(data);
		got = fread(data + size, 1, 4096, file);
		size += got;
	} while (got > 0);
	HOLD(!ferror(file));
	fclose(file);
	*ret_size = size;
	return data;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		size_t size;
		uint8_t *data = read_file(argv[i], &size);
		/* A copy as long as the file. */
		uint8_t *copy = realloc(data, size ? size : 1);

		/* Before it may crash. */
		fprintf(stderr, "%s\n", argv[i]);
		HOLD(copy);
		LLVMFuzzerTestOneInput(copy, size);
		free(copy);
	}
	printf("%d replayed\n", argc - 1);
	return 0;
}
