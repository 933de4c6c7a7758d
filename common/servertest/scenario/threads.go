package scenario

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
)

// What the server's threads are doing, as /proc tells it: to know that nothing more will come, and to
// show it.

// tickTime is how long a watch waits between two looks.
const tickTime = 20 * time.Millisecond

const (
	// quietTicks is for how many looks in a row no thread may want a CPU before the server
	// is taken to be waiting. All that it could work on has arrived before the first look.
	quietTicks = 12
	// spinTime is how much CPU a server may use before the answer to a small request begins.
	spinTime = 700 * time.Millisecond
)

// A Watch finds out that a server will not do what a client waits for: because it waits itself
// (every thread of it sleeps, look after look), or because it runs and runs without a result. Neither
// is a matter of how long it takes: on a busy machine a good server is seen wanting the CPU.
type Watch struct {
	server *process.Server
	until  time.Time // not before
	late   time.Time // a last resort
	cpu    time.Duration
	quiet  int
}

// Watch begins one that lasts a while at least.
func (s *S) Watch(atLeast time.Duration) *Watch {
	now := time.Now()
	return &Watch{server: s.Server, until: now.Add(atLeast), late: now.Add(atLeast + process.Patience), cpu: s.Server.CPU()}
}

// Tick waits a moment and looks.
func (w *Watch) Tick() error {
	time.Sleep(tickTime / 4)
	return w.look()
}

// look returns why it is useless to wait any longer, or nil.
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

// fewThreads is how many lines may be about single clients.
const fewThreads = 8

// oneClient is a client's name in the words of S.descriptor.
var oneClient = regexp.MustCompile(`client \S+`)

// threads says in lines what the server's threads are doing, the busy ones first.
func (s *S) threads() []string {
	if s.Server.Exited() {
		return []string{fmt.Sprintf("none: the server is gone (%s)", s.Server.Ended())}
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
	if len(groups) > fewThreads { // then it is the number that matters, and not who they are
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
		return []string{"none: the server is gone"}
	}
	var lines []string
	for _, g := range groups {
		lines = append(lines, fmt.Sprintf("%d × %s", g.n, g.what))
	}
	return lines
}

// thread says what one thread is doing, and how interesting that is; "" is one that has ended.
func (s *S) thread(task string) (what string, rank int) {
	dir := fmt.Sprintf("/proc/%d/task/%s/", s.Server.PID(), task)
	name, args := s.Server.Call(task)
	state := kernel.Stat(dir + "stat")
	if len(state) == 0 || state[0] == "Z" || state[0] == "X" {
		return "", 0
	}
	if name == "" { // not ours to look at: the state must do
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
	case "open", "openat":
		return name + ": waits for " + s.text(args[len(name)/6]) + " to be opened", 1 // openat has a folder first
	}
	return name, 2
}

// text reads a string of C out of the server's memory, a path for instance; what cannot be read is "something".
func (s *S) text(at uint64) string {
	if text, _, ok := bytes.Cut(s.memory(at, 256), []byte{0}); ok && len(text) > 0 {
		return strconv.Quote(string(text))
	}
	return "something"
}

// memory reads n bytes of the server's, or as many as can be read; n is not 0.
func (s *S) memory(at, n uint64) []byte {
	buf := make([]byte, n)
	local := unix.Iovec{Base: &buf[0]}
	local.SetLen(len(buf))
	got, err := unix.ProcessVMReadv(s.Server.PID(), []unix.Iovec{local}, []unix.RemoteIovec{{Base: uintptr(at), Len: len(buf)}}, 0)
	if err != nil {
		return nil
	}
	return buf[:got]
}

// theListener is how a descriptor is named that accepts connections.
const theListener = "the listening socket"

// pollSet reads the set that a thread gave to poll(2) out of its memory.
func (s *S) pollSet(args []uint64) string {
	const size = 8 // struct pollfd: int fd; short events, revents
	n := min(args[1], 16)
	if n == 0 {
		return "waits for nothing but the clock"
	}
	buf := s.memory(args[0], n*size)
	if uint64(len(buf)) < n*size {
		return "waits for something"
	}
	var names []string
	for ; len(buf) >= size; buf = buf[size:] {
		if fd := int32(binary.NativeEndian.Uint32(buf)); fd >= 0 {
			names = append(names, s.descriptor(fd))
		}
	}
	return "waits for " + strings.Join(names, " or ")
}

// watched are the names of the sockets in an epoll set.
func (s *S) watched(fd int32) (sockets []string) {
	info, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", s.Server.PID(), fd))
	for line := range strings.Lines(string(info)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "tfd:" {
			continue
		}
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", s.Server.PID(), f[1]))
		if strings.HasPrefix(to, "socket:") {
			n, _ := strconv.ParseInt(f[1], 10, 32)
			sockets = append(sockets, s.descriptor(int32(n)))
		}
	}
	return sockets
}

// epollSet says what an epoll set watches. The Go runtime has one of its own.
func (s *S) epollSet(fd int32) string {
	switch n := len(s.watched(fd)); {
	case n == 1:
		return "watches 1 connection"
	case n > 0:
		return fmt.Sprintf("watches %d connections", n)
	case s.Stage() < 4:
		return "the Go runtime's own"
	}
	return "watches no connection"
}

// descriptor names what a descriptor of the server stands for.
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
		return "the stop"
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
	return "a client that has gone"
}
