package faults

import (
	"fourways.example/common/servertest/stages"
)

// A phase says when the calls of a row fail.
type phase int

const (
	serving phase = iota // while clients are served, and then they succeed again
	atStart              // from the first instruction of the process on
	atStop               // from just before SIGTERM on
)

// A place says on which descriptors the calls of a row fail. Any other value is a path.
type place string

const (
	onNothing  place = "" // on all descriptors, or the call has none
	onVictim   place = "the victim's connection"
	onListener place = "the listening sockets"
	onStdout   place = "stdout"
	onEventfds place = "the eventfds"
	onRoot     place = "the root"
)

// A row is one fault: a system call, the purpose of the call, and the error that it returns.
type row struct {
	call   string   // names for strace, separated by ", ": older and newer calls for the same purpose
	what   string   // what the server does
	errors []string // the first one is tried; the code treats the others alike
	phase  phase
	on     place
	when   string // see injection
	least  int    // how many calls must fail; 0 is 1

	stages stages.Set // zero means all
	flags  []string   // further flags of the server
	global bool       // other clients are affected too, so only what follows the fault is checked
	lost   int        // descriptors that the fault itself leaves open: a close(2) that did not happen
	dies   bool       // the server prints its start line before the call that ends it
	quick  bool       // a part of the short form, which CI runs

	before func(t *trial) error  // connects the victim and brings it to the point before the fault
	act    func(t *trial) string // causes the call, and returns what is seen
	later  func(t *trial) string // what the victim does after the fault; must return nothing
	check  func(t *trial) string // after a start with the fault, returns what is different
}

func (r *row) times() int { return max(r.least, 1) }

// key identifies the row in the table.
func (r *row) key() string { return r.call + " | " + r.what + " | " + r.errors[0] }

// serves reports whether the row concerns a stage.
func (r *row) serves(stage int) bool { return r.stages == 0 || r.stages.Has(stage) }

var (
	blocking  = stages.In(1, 2, 3)
	dualStack = stages.In(3, 4)
	loops     = stages.In(4)
)

// Calls that have several names: the program calls one, depending on its architecture and on Go.
const (
	opens  = "openat, openat2"
	looks  = "fstat, newfstatat"
	polls  = "poll, ppoll"
	events = "epoll_wait, epoll_pwait"
)

// rows returns the whole table.
func rows() []row {
	var all []row
	for _, part := range [][]row{startRows(), acceptRows(), readRows(), sendRows(), fileRows(), tierRows(), logRows(), stopRows()} {
		all = append(all, part...)
	}
	return all
}

func startRows() []row {
	all := []row{
		{call: looks, what: "look at the root", errors: []string{"ENOENT", "ELOOP", "ENOTDIR", "ENOMEM", "EIO"}, on: onRoot, quick: true},
		{call: looks, what: "look at the root", errors: []string{"EACCES"}, on: onRoot},
		{call: "faccessat2", what: "may the root be read?", errors: []string{"EACCES"}, quick: true},
		{call: "faccessat2", what: "may the root be read?", errors: []string{"EIO", "ELOOP", "ENOMEM"}},
		{call: "faccessat2", what: "may the root be read?", errors: []string{"ENOSYS"}},
		{call: opens, what: "open the root", errors: []string{"EMFILE", "ENFILE", "ENOMEM", "EIO"}, on: onRoot},
		{call: opens, what: "open /proc/loadavg", errors: []string{"ENOENT", "EACCES", "EMFILE"}, on: "/proc/loadavg"},
		{call: "openat2", what: "probe for openat2", errors: []string{"ENOSYS"}},
		{call: "openat2", what: "probe for openat2", errors: []string{"EPERM"}},
		{call: "readlinkat", what: "find the real path of the root", errors: []string{"ENOENT", "EACCES", "ENOMEM"}, quick: true},
		{call: "pipe2", what: "make the pipe that announces the stop", errors: []string{"EMFILE", "ENFILE"}, quick: true},
		{call: "getrlimit, prlimit64", what: "ask for the limit on descriptors", errors: []string{"EPERM"}},
		{call: "sched_getaffinity", what: "count the CPUs (Go runtime)", errors: []string{"ENOSYS", "EPERM"}},
		{call: "clone, clone3", what: "start a thread (Go runtime)", errors: []string{"EAGAIN", "ENOMEM", "EPERM"}},
		{call: "epoll_create1", what: "make the first epoll set (Go runtime)", errors: []string{"EMFILE", "ENFILE", "ENOMEM"}},
		{call: "socket", what: "make a listening socket", errors: []string{"EMFILE", "ENFILE"}, quick: true},
		{call: "socket", what: "make a listening socket", errors: []string{"ENOBUFS", "ENOMEM", "EPERM"}},
		{call: "socket", what: "make a listening socket", errors: []string{"EACCES"}},
		{call: "socket", what: "make a listening socket", errors: []string{"EAFNOSUPPORT"}},
		{call: "socket", what: "make the two IPv6 sockets that are tried", errors: []string{"EAFNOSUPPORT"}, when: "1..2", least: 2, stages: dualStack, quick: true},
		{call: "setsockopt", what: "set an option of a listening socket", errors: []string{"ENOMEM", "ENOBUFS", "EPERM"}},
		{call: "setsockopt", what: "set an option of a listening socket", errors: []string{"ENOPROTOOPT"}},
		{call: "bind", what: "bind the port", errors: []string{"EADDRINUSE"}, quick: true},
		{call: "bind", what: "bind the port", errors: []string{"EACCES"}, quick: true},
		{call: "bind", what: "bind the port", errors: []string{"ENOMEM", "EPERM"}},
		{call: "bind", what: "bind the port", errors: []string{"EADDRNOTAVAIL"}},
		{call: "bind", what: "bind the port for the two IPv6 sockets that are tried", errors: []string{"EADDRNOTAVAIL"}, when: "1..2", least: 2, stages: dualStack},
		{call: "listen", what: "listen", errors: []string{"EADDRINUSE"}, quick: true},
		{call: "getsockname", what: "ask for the address", errors: []string{"ENOBUFS"}, check: names},
		{call: "epoll_create1", what: "make the epoll set of a loop", errors: []string{"EMFILE", "ENFILE", "ENOMEM"}, when: "2+", stages: loops, dies: true, quick: true},
		{call: "eventfd2", what: "make the eventfd of a loop", errors: []string{"EMFILE", "ENFILE", "ENOMEM", "ENODEV"}, when: "2+", stages: loops, dies: true, quick: true},
		{call: "epoll_ctl", what: "watch the eventfd of a loop", errors: []string{"ENOMEM", "ENOSPC"}, on: onEventfds, when: "2+", stages: loops, dies: true},
	}
	for i := range all {
		all[i].phase = atStart
	}
	return all
}

func acceptRows() []row {
	return []row{
		{call: "accept4", what: "accept a connection", errors: []string{
			"ECONNABORTED", "EPERM", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "ETIMEDOUT",
		}, when: "1..3", act: fresh, quick: true},
		{call: "accept4", what: "accept a connection", errors: []string{"EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EAGAIN"}, global: true, act: waits, later: answered, quick: true},
		{call: "accept4", what: "accept a connection", errors: []string{"EINTR"}, when: "1..3", act: fresh},
		{call: "accept4", what: "accept a connection", errors: []string{"EINVAL", "EBADF"}, global: true, act: ends, quick: true},
		{call: polls, what: "wait for a client to accept", on: onListener, errors: []string{"ENOMEM"}, stages: dualStack, act: fresh},
		{call: polls, what: "wait for a request", on: onVictim, errors: []string{"ENOMEM"}, stages: blocking, before: connected, act: twice("/plain.txt", 200), quick: true},
		{call: polls, what: "wait for a request", on: onVictim, errors: []string{"EINTR"}, when: "1..3", stages: blocking, before: connected, act: get("/plain.txt", 200)},
		{call: events, what: "wait for events", errors: []string{"EINTR"}, when: "1..3", stages: loops, before: connected, act: twice("/plain.txt", 200), quick: true},
		{call: "epoll_ctl", what: "watch a new connection", errors: []string{"ENOMEM", "ENOSPC"}, stages: loops, global: true, act: silent, quick: true},
		{call: "epoll_ctl", what: "watch for room in the send queue", on: onVictim, errors: []string{"ENOMEM"}, stages: loops, before: deafAfter("/healthz"), act: get("/large.bin", 200), quick: true},
		{call: "epoll_ctl", what: "stop watching a connection", on: onVictim, errors: []string{"ENOMEM", "ENOENT"}, stages: loops, before: deaf("/medium.bin", "Connection: close"), act: halfClosed},
		{call: "write", what: "wake a loop (eventfd)", on: onEventfds, errors: []string{"EINTR"}, when: "1..2", stages: loops, act: fresh, quick: true},
	}
}

func readRows() []row {
	return []row{
		{call: "recvfrom", what: "read a request", on: onVictim, errors: []string{"ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "EPIPE", "ENOMEM", "ENOBUFS", "ENOTCONN"}, before: connected, act: get("/plain.txt", 200), quick: true},
		{call: "recvfrom", what: "read a request", on: onVictim, errors: []string{"EINTR"}, when: "1..3", before: connected, act: get("/plain.txt", 200), quick: true},
		{call: "recvfrom", what: "read a request", on: onVictim, errors: []string{"EAGAIN"}, when: "1", before: connected, act: get("/plain.txt", 200), quick: true},
		{call: "recvfrom", what: "read the rest of a body", on: onVictim, errors: []string{"ECONNRESET", "ETIMEDOUT", "ENOMEM"}, before: half, act: post},
		{call: "recvfrom", what: "read the rest of a body", on: onVictim, errors: []string{"EAGAIN"}, when: "1", before: half, act: post},
		{call: "recvfrom", what: "drop what a refused client sends", on: onVictim, errors: []string{"ECONNRESET", "ETIMEDOUT", "ENOMEM"}, before: refused, act: more},
		{call: "recvfrom", what: "drop what a refused client sends", on: onVictim, errors: []string{"EAGAIN"}, when: "1", before: refused, act: more},
	}
}

func sendRows() []row {
	late := []string{"--write-timeout", "500ms"}
	return []row{
		{call: "sendto", what: "send a response", on: onVictim, errors: []string{"EPIPE", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ENOBUFS", "ENOMEM", "EACCES"}, before: connected, act: get("/plain.txt", 200), quick: true},
		{call: "sendto", what: "send a response", on: onVictim, errors: []string{"EINTR"}, when: "1..3", before: connected, act: get("/plain.txt", 200)},
		{call: "sendto", what: "send a response", on: onVictim, errors: []string{"EAGAIN"}, when: "1", before: connected, act: get("/plain.txt", 200), quick: true},
		{call: "sendto", what: "send a refusal", on: onVictim, errors: []string{"EPIPE", "ECONNRESET", "ENOMEM"}, before: connected, act: bad},
		{call: "sendto", what: "send 100 Continue", on: onVictim, errors: []string{"EPIPE", "ECONNRESET", "ENOMEM"}, before: connected, act: expects},
		{call: "sendto", what: "send 100 Continue", on: onVictim, errors: []string{"EAGAIN"}, when: "1", before: connected, act: expects},
		{call: "sendfile", what: "send a large file", on: onVictim, errors: []string{"EPIPE", "ECONNRESET", "ETIMEDOUT", "EIO", "ENOMEM", "EOVERFLOW", "EINVAL"}, before: connected, act: get("/large.bin", 200), quick: true},
		{call: "sendfile", what: "send a large file", on: onVictim, errors: []string{"0"}, before: connected, act: get("/large.bin", 200), quick: true},
		{call: "sendfile", what: "send a large file", on: onVictim, errors: []string{"EINTR"}, when: "1..3", before: connected, act: get("/large.bin", 200)},
		{call: "sendfile", what: "send a large file", on: onVictim, errors: []string{"EAGAIN"}, when: "1", before: connected, act: get("/large.bin", 200), quick: true},
		{call: "ioctl", what: "how much is unacknowledged or unread? (SIOCOUTQ, SIOCINQ)", on: onVictim, errors: []string{"EPERM", "ENOTTY"}, before: connected, act: leaves("/large.bin")},
		{call: "ioctl", what: "does a client that reads nothing make progress? (SIOCOUTQ)", on: onVictim, errors: []string{"EPERM", "ENOTTY"}, flags: late, before: deaf("/large.bin"), act: cutOff},
		{call: "setsockopt", what: "close with a reset (SO_LINGER)", on: onVictim, errors: []string{"ENOMEM", "EPERM"}, flags: late, before: deaf("/large.bin"), act: cutOff},
		{call: "getsockopt", what: "is the connection reset? (SO_ERROR)", on: onVictim, errors: []string{"ENOMEM", "EPERM"}, before: deaf("/medium.bin", "Connection: close"), act: halfClosed},
		{call: "shutdown", what: "end the sending side", on: onVictim, errors: []string{"ENOTCONN"}, before: connected, act: bad, quick: true},
		// The kernel releases the descriptor even if close(2) fails, but a fault of strace leaves it open. An event
		// loop would then have it in its epoll set forever, so there is nothing to learn from stage 4.
		{call: "close", what: "close a connection", on: onVictim, errors: []string{"EIO", "EINTR"}, stages: blocking, lost: 1, before: connected, act: quits},
	}
}

// fileRows has the calls for files. Most are tried with a file that is not in the cache, and with one that is, but
// must be looked at again.
func fileRows() []row {
	var all []row
	both := func(call, what, when string, quick bool, errors ...string) {
		all = append(
			all,
			row{call: call, what: what + " that is not in the cache", errors: errors, when: when, quick: quick, before: connected, act: uncached},
			row{call: call, what: what + " that is in the cache", errors: errors, when: when, quick: quick, before: stale("/k.txt"), act: get("/k.txt", 200)},
		)
	}
	both(opens, "open a file", "", true, "ENOENT", "ENOTDIR", "ENAMETOOLONG")
	both(opens, "open a file", "", true, "EACCES", "EPERM")
	both(opens, "open a file", "", false, "ELOOP", "ENXIO", "ENODEV", "EXDEV", "EOVERFLOW")
	both(opens, "open a file", "", true, "EMFILE", "ENFILE")
	both(opens, "open a file", "", true, "ENOMEM", "EIO")
	both(opens, "open a file", "", false, "EAGAIN")
	both(opens, "open a file", "1", false, "EINTR")
	both(looks, "look at a file", "", true, "ENOMEM", "EIO", "EOVERFLOW")
	both("pread64", "read a small file", "", true, "EIO", "ENOMEM", "EISDIR")
	both("pread64", "read a small file", "1", false, "EINTR")
	both("readlinkat", "find the real path of a file", "", true, "ENOENT", "EACCES", "ENOMEM", "EIO")
	return append(
		all,
		row{call: opens, what: "open a file that does not exist", errors: []string{"EMFILE", "ENFILE"}, before: connected, act: get("/nothing.txt", 404)},
		row{call: opens, what: "list the videos", errors: []string{"EMFILE", "EACCES", "ENOMEM", "EIO"}, before: connected, act: videos},
		row{call: "getdents64", what: "list the videos", errors: []string{"EIO", "ENOENT", "ENOMEM"}, before: connected, act: videos, quick: true},
		row{call: looks, what: "list the videos", errors: []string{"EIO", "ENOENT", "ENOMEM"}, before: connected, act: videos},
		row{call: "stat, newfstatat", what: "does the name of the root mean another folder?", errors: []string{"ENOENT", "EACCES", "ENOMEM", "EIO"}, before: stale("/k.txt"), act: get("/k.txt", 200)},
		row{call: "pread64", what: "read /proc/loadavg", errors: []string{"EIO", "ENOMEM"}, before: connected, act: get("/loadavg", 200), quick: true},
		row{call: "pread64", what: "read /proc/loadavg", errors: []string{"EINTR"}, when: "1", before: connected, act: get("/loadavg", 200)},
	)
}

// tierRows has the calls for the connection to Redis. Nothing listens on its port.
func tierRows() []row {
	flags := []string{"--notes", "redis://127.0.0.1:1"}
	return []row{
		{call: "connect", what: "connect to Redis", errors: []string{"ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT", "EADDRNOTAVAIL", "EACCES", "EPERM", "EAGAIN"}, flags: flags, before: connected, act: get("/api/notes", 200), quick: true},
		{call: "connect", what: "connect to Redis", errors: []string{"EINTR"}, when: "1..3", flags: flags, before: connected, act: get("/api/notes", 503)},
		{call: "socket", what: "make a socket for Redis", errors: []string{"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"}, flags: flags, before: connected, act: get("/api/notes", 200)},
		{call: "getsockopt", what: "is Redis connected? (SO_ERROR)", errors: []string{"ENOMEM"}, flags: flags, before: connected, act: get("/api/notes", 200)},
	}
}

func logRows() []row {
	return []row{
		{call: "write", what: "write the access log", on: onStdout, errors: []string{"ENOSPC", "EDQUOT", "EIO", "EFBIG", "EPERM"}, before: connected, act: logs, later: logsAgain, quick: true},
		{call: "write", what: "write the access log", on: onStdout, errors: []string{"EPIPE"}, before: connected, act: logs, quick: true},
		{call: "write", what: "write the access log", on: onStdout, errors: []string{"EINTR"}, when: "1", before: connected, act: logs, later: logsAgain},
		{call: "write", what: "write the access log", on: onStdout, errors: []string{"EAGAIN"}, when: "1", before: connected, act: logs, later: logsAgain},
	}
}

func stopRows() []row {
	return []row{
		{phase: atStop, call: "shutdown", what: "stop to listen", on: onListener, errors: []string{"ENOTCONN"}, global: true, act: stops, quick: true},
		{phase: atStop, call: "write", what: "write the last line", on: onStdout, errors: []string{"ENOSPC", "EIO", "EDQUOT"}, global: true, act: stops},
		{phase: atStop, call: events, what: "wait for events during the stop", errors: []string{"EINTR"}, when: "1..3", global: true, stages: loops, act: stops},
	}
}
