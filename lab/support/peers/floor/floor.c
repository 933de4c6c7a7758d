/* The floor: a server that does only what no server can leave out. It waits in epoll, receives, finds the empty
 * line at the end of each request, and sends an answer that was made at the start. It checks nothing, times
 * nothing out and opens no file, so it shows the share of the kernel in the cost of a request.
 *
 *     floor -p PORT [-R ROOT]
 *
 * GET /api/… gets {} as JSON, and everything else 1,024 bytes. There is one event loop for each CPU; the main thread
 * accepts and gives each loop every n-th connection, as stage 4 does. Each request is answered with a send of its
 * own, also if several were pipelined.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FD = 1 << 20, BUFFER = 4096, EVENTS = 256 };

/* matched[fd] is how many bytes of \r\n\r\n the connection has sent last. first[fd] is the letter after the slash of
 * the request target, or 0 before it has arrived, and column[fd] is how many bytes of the request have arrived. */
static unsigned char matched[MAX_FD], first[MAX_FD], column[MAX_FD];

static char file[2048], login[256];
static size_t file_len, login_len;

static void fail(const char *what) {
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void make_answers(void) {
	char body[1024];
	memset(body, 'x', sizeof body);
	file_len = sprintf(file, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", sizeof body);
	memcpy(file + file_len, body, sizeof body);
	file_len += sizeof body;
	login_len = sprintf(login, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
}

/* answer sends the answer at once or gives up: a client of the bench reads what it has asked for. */
static int answer(int fd, int api) {
	size_t n = api ? login_len : file_len;
	return send(fd, api ? login : file, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

/* take looks for the ends of requests. It returns -1 if the connection is to be closed. */
static int take(int fd, const char *b, ssize_t n) {
	static const char end[] = "\r\n\r\n";
	for (ssize_t i = 0; i < n; i++) {
		if (column[fd] < 6 && ++column[fd] == 6)
			first[fd] = b[i]; /* "GET /a": the sixth byte */
		if (b[i] == end[matched[fd]])
			matched[fd]++;
		else
			matched[fd] = b[i] == '\r';
		if (matched[fd] == 4) {
			if (answer(fd, first[fd] == 'a'))
				return -1;
			matched[fd] = column[fd] = first[fd] = 0;
		}
	}
	return 0;
}

static void *loop(void *arg) {
	int set = *(int *)arg;
	struct epoll_event events[EVENTS];
	char buffer[BUFFER];
	for (;;) {
		int n = epoll_wait(set, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			ssize_t got = recv(fd, buffer, sizeof buffer, 0);
			if (got < 0 && (errno == EAGAIN || errno == EINTR))
				continue;
			if (got <= 0 || take(fd, buffer, got))
				close(fd);
		}
	}
	return NULL;
}

int main(int argc, char **argv) {
	int port = 8080, opt, one = 1;
	while ((opt = getopt(argc, argv, "p:R:")) != -1)
		if (opt == 'p')
			port = atoi(optarg);
	make_answers();
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit it */
	if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096) || getsockname(listener, (struct sockaddr *)&address, &size))
		fail("listen");
	int loops = sysconf(_SC_NPROCESSORS_ONLN);
	int *sets = calloc(loops, sizeof *sets);
	for (int i = 0; i < loops; i++) {
		pthread_t thread;
		if ((sets[i] = epoll_create1(EPOLL_CLOEXEC)) < 0 || pthread_create(&thread, NULL, loop, &sets[i]))
			fail("start of a loop");
	}
	printf("floor: http://127.0.0.1:%d/\n", ntohs(address.sin_port));
	fflush(stdout);
	for (unsigned next = 0;; next++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 || fd >= MAX_FD) {
			if (fd >= 0)
				close(fd);
			else if (errno != EINTR && errno != ECONNABORTED)
				fail("accept");
			continue;
		}
		matched[fd] = column[fd] = first[fd] = 0;
		struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
		epoll_ctl(sets[next % loops], EPOLL_CTL_ADD, fd, &ev);
	}
}
