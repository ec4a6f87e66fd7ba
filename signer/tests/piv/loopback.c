/*
 * Preloaded into pcscd for its virtual reader, which would listen on all addresses of the machine: it listens on one of the
 * loopback. It also writes the length of a message and the message apart, and would wait 40 ms for an acknowledgement in
 * between each time, which no reader does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

int bind(int descriptor, const struct sockaddr *address, socklen_t length)
{
    int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
    struct sockaddr_in bound;
    if (address->sa_family != AF_INET)
        return next(descriptor, address, length);
    bound = *(const struct sockaddr_in *) address;
    bound.sin_addr.s_addr = inet_addr(getenv("LOOPBACK_ADDRESS"));
    return next(descriptor, (const struct sockaddr *) &bound, sizeof bound);
}

int accept(int descriptor, struct sockaddr *address, socklen_t *length)
{
    int (*next)(int, struct sockaddr *, socklen_t *) = dlsym(RTLD_NEXT, "accept");
    int accepted = next(descriptor, address, length);
    int yes = 1;
    if (accepted >= 0)
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return accepted;
}
