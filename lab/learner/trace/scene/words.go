package scene

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"fourways.example/lab/learner/trace/tape"
)

// noise are the calls by which the Go runtime manages threads and memory.
var noise = strings.Fields(`futex nanosleep clock_nanosleep rt_sigreturn rt_sigaction rt_sigprocmask sigaltstack tgkill
	getpid gettid sched_yield sched_getaffinity madvise mmap munmap mprotect clone clone3 set_robust_list rseq prctl
	timer_create timer_settime timer_delete setitimer restart_syscall arch_prctl brk exit`)

func isNoise(call string) bool { return slices.Contains(noise, call) }

// pureWaits are the calls whose only purpose is to wait. They count as waiting when they do not return at once.
var pureWaits = strings.Fields(`poll ppoll select pselect6 epoll_wait epoll_pwait epoll_pwait2 accept accept4 futex nanosleep clock_nanosleep`)

func isEpollWait(call string) bool {
	return strings.HasPrefix(call, "epoll_") && call != "epoll_ctl" && !strings.HasPrefix(call, "epoll_create")
}

// How long a call takes at least if the thread waits in it. A call of sendfile(2) may work for some milliseconds.
const (
	atOnce  = 300 * time.Microsecond
	anyCall = 5 * time.Millisecond
)

// A watcher follows the epoll sets through the calls of a server, to say which clients a loop waits for.
type watcher struct {
	tape   *tape.Tape
	sets   map[int][]string // the clients in each epoll set, by the descriptor of the set
	theirs map[int]bool     // the sets and eventfds of the server itself; the Go runtime has others
	events map[int][]int    // the eventfds in each epoll set
	names  map[int]string   // the client of each descriptor; strace prints no address of a connection that was reset
}

func newWatcher(t *tape.Tape) *watcher {
	return &watcher{tape: t, sets: map[int][]string{}, theirs: map[int]bool{}, events: map[int][]int{}, names: map[int]string{}}
}

// bar interprets a call. The calls must come in order.
func (w *watcher) bar(c tape.Call) (b Bar, isItsOwn bool) {
	b = Bar{Call: c}
	os := c.Objects()
	for _, o := range os {
		if b.Client = w.client(o); b.Client != "" {
			break
		}
	}
	if accepted := tape.Objects(c.Result); b.Client == "" && len(accepted) > 0 {
		b.Client = w.client(accepted[0])
	}
	d := c.Dur()
	b.Wait = slices.Contains(pureWaits, c.Name) && d >= atOnce || d >= anyCall
	if b.Wait && len(os) > 0 && w.client(os[0]) == "" {
		b.Client = "" // the thread does not know yet who will come
	}
	b.Says = w.says(&b, os)
	return b, c.Signal || isNoise(c.Name) || w.runtimes(&c, os)
}

// runtimes reports whether the call is the Go runtime's own: it asks for the number of CPUs now and then, and has an
// epoll set. Only the server's sets watch sockets or the pipe that stops the server.
func (w *watcher) runtimes(c *tape.Call, os []tape.Object) bool {
	if strings.Contains(c.Args, "/sys/devices/system/cpu") || strings.Contains(c.Args, "/sys/fs/cgroup") {
		return true
	}
	if len(os) == 0 {
		return strings.HasPrefix(c.Name, "epoll_create") || strings.HasPrefix(c.Name, "eventfd")
	}
	first := os[0]
	switch {
	case c.Name == "epoll_ctl" && len(os) > 1:
		w.epollCtl(c, os)
		return !w.theirs[first.FD]
	case strings.Contains(first.What, "[eventpoll]"), strings.Contains(first.What, "[eventfd]"):
		return !w.theirs[first.FD]
	case c.Name == "close":
		for set := range w.sets {
			w.sets[set] = slices.DeleteFunc(w.sets[set], func(name string) bool { return name == w.client(first) })
		}
	}
	return false
}

func (w *watcher) epollCtl(c *tape.Call, os []tape.Object) {
	set, what := os[0].FD, os[1]
	if what.TCP() || strings.HasPrefix(what.What, "pipe") {
		w.theirs[set] = true
	}
	if strings.Contains(what.What, "[eventfd]") {
		w.events[set] = append(w.events[set], what.FD)
	}
	for _, fd := range w.events[set] {
		w.theirs[fd] = w.theirs[set]
	}
	name := w.client(what)
	if name == "" {
		return
	}
	w.sets[set] = slices.DeleteFunc(w.sets[set], func(n string) bool { return n == name })
	if !strings.Contains(c.Args, "EPOLL_CTL_DEL") {
		w.sets[set] = append(w.sets[set], name)
	}
}

// client returns the name of the client at the other end of a connection, or "".
func (w *watcher) client(o tape.Object) string {
	port := o.Peer()
	name, known := w.tape.Clients[port]
	switch {
	case !o.TCP(), o.Listens():
		return ""
	case port == 0:
		return w.names[o.FD]
	case known:
	case w.tape.Port == 0 || o.Local() == w.tape.Port:
		name = "another client"
	default:
		name = "the database"
	}
	w.names[o.FD] = name
	return name
}

var inQuotes = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)

// says describes a call in words.
func (w *watcher) says(b *Bar, os []tape.Object) string {
	who := b.Client
	if who == "" {
		who = "the next client"
	}
	if !b.Wait {
		return w.does(b)
	}
	switch {
	case isEpollWait(b.Name) && len(os) > 0:
		return "waits for " + together(w.sets[os[0].FD])
	case b.Name == "futex":
		return "parked by the Go runtime"
	case strings.HasSuffix(b.Name, "nanosleep"):
		return "sleeps"
	case strings.HasPrefix(b.Name, "send"), strings.HasPrefix(b.Name, "write"):
		if b.log() {
			return "waits until somebody reads the log"
		}
		return "waits until " + who + " reads"
	case strings.HasPrefix(b.Name, "open"):
		if m := inQuotes.FindStringSubmatch(b.Args); m != nil {
			return "waits to open " + m[1]
		}
	case len(os) > 0 && !os[0].TCP():
		return "waits in " + b.Name
	}
	return "waits for " + who
}

// does describes a call that returns at once.
func (w *watcher) does(b *Bar) string {
	n, err := strconv.Atoi(b.Result)
	of := ""
	if b.Client != "" {
		of = " of " + b.Client
	}
	switch {
	case strings.HasPrefix(b.Name, "recv") && err == nil && n == 0:
		return "sees the end" + of
	case strings.HasPrefix(b.Name, "recv") && err == nil && n > 0:
		return fmt.Sprintf("reads %d bytes%s", n, of)
	case strings.HasPrefix(b.Name, "send") && err == nil && b.Client != "":
		return fmt.Sprintf("sends %d bytes to %s", n, b.Client)
	case strings.HasPrefix(b.Name, "accept") && b.Client != "":
		return "accepts " + b.Client
	case b.Name == "close" && b.Client != "":
		return "closes the connection" + of
	}
	return b.Name
}

// together names the clients of an epoll set.
func together(names []string) string {
	switch n := len(names); {
	case n == 0:
		return "its first client"
	case n == 1:
		return names[0]
	case n > 4:
		return fmt.Sprintf("%d clients at once", n)
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1] + " at once"
	}
}
