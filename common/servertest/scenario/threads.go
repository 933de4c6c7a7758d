package scenario

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
)

// This file reads in /proc what the server's threads are doing. A Watch uses it to find that nothing more will
// come, and the transcript shows it to the reader.

// tickTime is how long a peer waits for bytes between two checks of the threads.
const tickTime = 20 * time.Millisecond

const (
	// quietTicks is the number of checks in a row in which all threads must sleep before the server counts as
	// waiting: 240 ms while a peer reads. Everything that the server could work on has arrived before the first.
	quietTicks = 12
	// spinTime is how much CPU time a server may use before its response to a small request begins.
	spinTime = 700 * time.Millisecond
)

// A Watch finds out that a server will not do what a client waits for: all threads sleep in several checks in a row,
// or the server uses much CPU time without a result. On a busy machine it does not give up too early: the
// threads of a working server then wait for a CPU, which is not sleep.
type Watch struct {
	server *process.Server
	until  time.Time     // no result before this time
	late   time.Time     // gives up at this time in any case
	cpu    time.Duration // the server's CPU time at the beginning, negative if unknown
	quiet  int           // checks in a row in which all threads slept
}

// Watch begins a Watch that reports nothing before atLeast has passed.
func (s *S) Watch(atLeast time.Duration) *Watch {
	now := time.Now()
	return &Watch{server: s.Server, until: now.Add(atLeast), late: now.Add(atLeast + process.Patience), cpu: s.Server.CPU()}
}

// Tick waits a moment and checks the threads. It returns an error if it is useless to wait any longer.
func (w *Watch) Tick() error {
	time.Sleep(tickTime / 4)
	return w.look()
}

// look checks the threads, and returns an error if it is useless to wait any longer.
func (w *Watch) look() error {
	if w.server.Exited() {
		return ErrSilent
	}
	if w.server.Awake() {
		w.quiet = 0
	} else {
		w.quiet++
	}
	now := time.Now()
	switch {
	case now.Before(w.until):
		return nil
	case w.quiet >= quietTicks:
		return ErrSilent
	case w.server.CPU()-w.cpu > spinTime && w.cpu >= 0, now.After(w.late):
		return errSpins
	}
	return nil
}

// fewThreads is the greatest number of lines in which threads names single clients.
const fewThreads = 8

// oneClient matches a client's name as S.descriptor writes it.
var oneClient = regexp.MustCompile(`client \S+`)

// threads describes what the server's threads are doing, a line for each group of threads, the most interesting
// first.
func (s *S) threads() []string {
	if s.Server.Exited() {
		return []string{fmt.Sprintf("none: the server has ended (%s)", s.Server.Ended())}
	}
	type group struct {
		what string
		rank int
		n    int
	}
	var groups []group
	for _, task := range s.Server.Tasks() {
		what, rank := s.thread(task)
		if what == "" {
			continue
		}
		i := slices.IndexFunc(groups, func(g group) bool { return g.what == what })
		if i < 0 {
			groups = append(groups, group{what: what, rank: rank})
			i = len(groups) - 1
		}
		groups[i].n++
	}
	slices.SortStableFunc(groups, func(a, b group) int { return a.rank - b.rank })
	if len(groups) > fewThreads { // a reader then needs the number of clients, not their names
		var merged []group
		for _, g := range groups {
			g.what = oneClient.ReplaceAllString(g.what, "a client")
			if i := slices.IndexFunc(merged, func(m group) bool { return m.what == g.what }); i >= 0 {
				merged[i].n += g.n
			} else {
				merged = append(merged, g)
			}
		}
		groups = merged
	}
	if len(groups) == 0 {
		return []string{"none: the server has ended"}
	}
	var lines []string
	for _, g := range groups {
		lines = append(lines, fmt.Sprintf("%d × %s", g.n, g.what))
	}
	return lines
}

// thread describes what one thread is doing, and ranks it: lower ranks are more interesting. A thread that has ended
// is "".
func (s *S) thread(task string) (what string, rank int) {
	dir := fmt.Sprintf("/proc/%d/task/%s/", s.Server.PID(), task)
	name, args := s.Server.Call(task)
	state := kernel.Stat(dir + "stat")
	if len(state) == 0 || state[0] == "Z" || state[0] == "X" {
		return "", 0
	}
	if name == "" { // the system call may not be read: use the thread's state
		wchan, _ := os.ReadFile(dir + "wchan")
		if state[0] == "R" {
			return "running", 0
		}
		return "asleep in " + string(wchan), 2
	}
	fd := func(i int) string { return s.descriptor(int32(args[i])) }
	switch name {
	case "running":
		return "running on a CPU", 0
	case "futex":
		return "futex: parked by the Go runtime", 9
	case "nanosleep", "clock_nanosleep":
		return name + ": the Go runtime's monitor (sysmon)", 8
	case "accept", "accept4":
		return name + ": waits for the next client", 3
	case "poll":
		if set := s.pollSet(args); set == "waits for "+theListener {
			return "poll: waits for the next client", 3
		} else {
			return "poll: " + set, 1
		}
	case "epoll_wait":
		return "epoll_wait: " + s.epollSet(int32(args[0])), 4
	case "recvfrom", "recvmsg", "read", "readv":
		return name + ": reads from " + fd(0), 1
	case "sendto", "sendmsg", "write", "writev", "sendfile":
		return name + ": waits until " + fd(0) + " takes more", 1
	case "open", "openat", "openat2":
		return name + ": waits to open " + s.text(args[len(name)/6]), 1 // the path is argument 0 of open, 1 of the others
	}
	return name, 2
}

// text reads a C string, such as a path, from the server's memory. It returns "a file" if the memory cannot be read.
func (s *S) text(at uint64) string {
	if text, _, ok := bytes.Cut(kernel.Memory(s.Server.PID(), at, 256), []byte{0}); ok && len(text) > 0 {
		return strconv.Quote(string(text))
	}
	return "a file"
}

// theListener is the name of a descriptor that accepts connections.
const theListener = "the listening socket"

// pollSet reads the set of a thread in poll(2) from the server's memory, and describes it.
func (s *S) pollSet(args []uint64) string {
	set, ok := kernel.PollSet(s.Server.PID(), args)
	if !ok {
		return "waits for descriptors that cannot be read here"
	}
	if len(set) == 0 {
		return "waits only for its time-out"
	}
	var names []string
	for _, p := range set {
		names = append(names, s.descriptor(p.Fd))
	}
	return "waits for " + strings.Join(names, " or ")
}

// watched returns the names of the sockets in an epoll set.
func (s *S) watched(fd int32) (sockets []string) {
	for _, e := range kernel.EpollSet(s.Server.PID(), int(fd)) {
		if strings.HasPrefix(s.Server.What(int(e.Fd)), "socket:") {
			sockets = append(sockets, s.descriptor(e.Fd))
		}
	}
	return sockets
}

// epollSet describes an epoll set. The Go runtime has a set of its own.
func (s *S) epollSet(fd int32) string {
	switch n := len(s.watched(fd)); {
	case n == 1:
		return "watches 1 connection"
	case n > 0:
		return fmt.Sprintf("watches %d connections", n)
	case s.Stage() < 4:
		return "the Go runtime's own set"
	}
	return "watches no connection"
}

// descriptor names the object of a descriptor of the server.
func (s *S) descriptor(fd int32) string {
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", s.Server.PID(), fd))
	switch {
	case err != nil:
		return fmt.Sprintf("descriptor %d", fd)
	case fd == 1:
		return "stdout"
	case fd == 2:
		return "stderr"
	case strings.HasPrefix(to, "pipe:"):
		return "the stop pipe"
	case !strings.HasPrefix(to, "socket:["):
		return to
	}
	is := func(d kernel.Socket, err error) bool { return err == nil && to == fmt.Sprintf("socket:[%d]", d.Inode) }
	for _, p := range s.peers {
		if p.Conn != nil && is(kernel.ServerEnd(p.Conn)) {
			return "client " + p.Name
		}
	}
	for l := range kernel.Listeners(s.Server.Port) {
		if is(l, nil) {
			return theListener
		}
	}
	var inode uint32
	if n, _ := fmt.Sscanf(to, "socket:[%d]", &inode); n == 1 && s.Tier != nil && s.Tier.Holds(inode) {
		return "the database"
	}
	return "a closed connection"
}
