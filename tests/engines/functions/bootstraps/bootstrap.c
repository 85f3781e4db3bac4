/* A Lambda runtime in C: answers each event with itself in a list. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static char head[65536], body[65536], id[128];

/* Sends one request on a connection of its own; leaves the answer's body in `body`, its request id in `id`. */
static int call(const char *method, const char *path, const char *data) {
    char *api = strdup(getenv("AWS_LAMBDA_RUNTIME_API")), *port = strchr(api, ':');
    *port++ = 0;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    inet_pton(AF_INET, api, &at.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0), size = 0, got;
    if (connect(fd, (struct sockaddr *)&at, sizeof at)) exit(2);
    dprintf(fd, "%s /2018-06-01/runtime/invocation/%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n"
                "Connection: close\r\n\r\n%s", method, path, api, strlen(data), data);
    while ((got = read(fd, head + size, sizeof head - 1 - size)) > 0) size += got;
    head[size] = 0;
    close(fd);
    free(api);
    char *end = strstr(head, "\r\n\r\n"), *found;
    if (!end) exit(3);
    strcpy(body, end + 4);
    *end = 0;
    if ((found = strcasestr(head, "lambda-runtime-aws-request-id: "))) sscanf(found + 31, "%127s", id);
    return 0;
}

int main(void) {
    static char path[256], answer[65540];
    for (;;) {
        call("GET", "next", "");
        snprintf(answer, sizeof answer, "[%s]", body);
        snprintf(path, sizeof path, "%s/response", id);
        call("POST", path, answer);
    }
}
