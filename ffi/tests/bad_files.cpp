// Files that are no regions, made by the harness: each throws just its error.
#include "check.h"

#include <forebay.hpp>

#include <fstream>
#include <sstream>
#include <string>

int main() {
    const char *folder = std::getenv("FOREBAY_BAD_FILES");
    if (folder == nullptr) {
        std::printf("skipped: FOREBAY_BAD_FILES is not set\n");
        return 0;
    }
    std::ifstream manifest(std::string(folder) + "/manifest.tsv");
    CHECK(manifest.is_open());
    for (std::string line; std::getline(manifest, line);) {
        std::istringstream columns(line);
        std::string file, code, code_name, message;
        std::getline(columns, file, '\t');
        std::getline(columns, code, '\t');
        std::getline(columns, code_name, '\t');
        std::getline(columns, message);
        const std::string path = std::string(folder) + "/" + file;
        const std::size_t mark = message.find("{path}");
        if (mark != std::string::npos) {
            message.replace(mark, 6, path);
        }
        const forebay::Result<forebay::Region> region = forebay::Region::try_open(path);
        if (!CHECK(!region)) {
            continue;
        }
        CHECK(region.error().code() == std::stoi(code));
        CHECK(region.error().code_name() == code_name);
        if (!CHECK(region.error().what() == message)) {
            std::fprintf(stderr, "%s: says \"%s\", wanted \"%s\"\n", file.c_str(),
                         region.error().what(), message.c_str());
        }
    }
    return finish();
}
