/* Files that are no regions, made by the harness: each gives just its error. */
#include "check.h"

#include <stdlib.h>

/* Replaces the one "{path}" in a message. */
static void fill_in(char *to, size_t cap, const char *message, const char *path) {
    const char *mark = strstr(message, "{path}");
    if (mark == NULL) {
        snprintf(to, cap, "%s", message);
    } else {
        snprintf(to, cap, "%.*s%s%s", (int)(mark - message), message, path, mark + 6);
    }
}

int main(void) {
    const char *folder = getenv("FOREBAY_BAD_FILES");
    if (folder == NULL) {
        printf("skipped: FOREBAY_BAD_FILES is not set\n");
        return 0;
    }
    char name[4096];
    snprintf(name, sizeof name, "%s/manifest.tsv", folder);
    FILE *manifest = fopen(name, "r");
    if (!CHECK(manifest != NULL)) {
        return finish();
    }
    char line[8192];
    while (fgets(line, sizeof line, manifest) != NULL) {
        line[strcspn(line, "\n")] = 0;
        char *const file = line;
        char *const code = strchr(file, '\t');
        char *const code_name = code != NULL ? strchr(code + 1, '\t') : NULL;
        char *const message = code_name != NULL ? strchr(code_name + 1, '\t') : NULL;
        if (!CHECK(message != NULL)) {
            continue;
        }
        *code = *code_name = *message = 0;
        char path[16384];
        char wanted[32768];
        snprintf(path, sizeof path, "%s/%s", folder, file);
        fill_in(wanted, sizeof wanted, message + 1, path);
        fb_region_options options = fb_region_options_init();
        options.name_or_path = path;
        fb_region *region = NULL;
        FAILS((fb_status)strtol(code + 1, NULL, 10), wanted, fb_region_open(&options, &region));
        CHECK(strcmp(fb_status_name((fb_status)strtol(code + 1, NULL, 10)), code_name + 1) == 0);
        CHECK(region == NULL);
    }
    fclose(manifest);
    return finish();
}
