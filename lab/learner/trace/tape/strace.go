package tape

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Call is one system call of one thread, or a signal that the thread got.
type Call struct {
	Thread   int
	Name     string // "recvfrom"; for a signal "SIGURG"
	Args     string // as strace prints them
	Result   string // "25", "-1 EAGAIN (Resource temporarily unavailable)"; "" if the trace ends before the call
	From, To time.Duration
	Signal   bool
	Open     bool // the trace ends before the call
}

// Dur returns how long the call took.
func (c *Call) Dur() time.Duration { return c.To - c.From }

var (
	lineForm = regexp.MustCompile(`^(\d+) +(\d+\.\d{6}) (.*)$`)
	// The data of a call may contain ") = ", so the arguments are as long as possible.
	callForm   = regexp.MustCompile(`^(\w+)\((.*)\) += (.*?)(?: <(\d+\.\d{6})>)?$`)
	resumed    = regexp.MustCompile(`^<\.\.\. \w+ resumed>`)
	signalForm = regexp.MustCompile(`^--- (SIG\w+) `)
)

const unfinished = " <unfinished ...>"

// Calls parses the output of strace. It returns the calls in the order in which they began. Lines that are no
// calls, such as the end of a thread, are ignored.
func Calls(text string) []Call {
	type begun struct {
		text string
		at   time.Duration
	}
	pending := map[int]begun{} // by thread: strace prints a call in two lines if other threads' calls come between
	var all []Call
	var last time.Duration
	for line := range strings.Lines(text) {
		m := lineForm.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			continue
		}
		thread, _ := strconv.Atoi(m[1])
		at, err := parseTime(m[2])
		if err != nil {
			continue
		}
		last = max(last, at)
		body := m[3]
		if !strings.HasPrefix(body, "<...") && !strings.HasPrefix(body, "---") {
			// A call that was begun has not gone on: another strace has taken the thread over.
			delete(pending, thread)
		}
		if s := signalForm.FindStringSubmatch(body); s != nil {
			all = append(all, Call{Thread: thread, Name: s[1], From: at, To: at, Signal: true})
			continue
		}
		from, ends := at, at
		if mark := resumed.FindString(body); mark != "" {
			p, ok := pending[thread]
			if !ok {
				continue // the call began before the tape
			}
			delete(pending, thread)
			body, from = p.text+strings.TrimPrefix(body, mark), p.at
		}
		if text, cut := strings.CutSuffix(body, unfinished); cut {
			pending[thread] = begun{text, from}
			continue
		}
		if c, ok := parseCall(body); ok {
			c.Thread, c.From = thread, from
			c.To = max(from+c.To, from) // parseCall has put the duration there
			if c.To == from {
				c.To = ends
			}
			all = append(all, c)
		}
	}
	for thread, p := range pending {
		if name, args, ok := strings.Cut(p.text, "("); ok {
			all = append(all, Call{Thread: thread, Name: name, Args: args, From: p.at, To: last, Open: true})
		}
	}
	slices.SortStableFunc(all, func(a, b Call) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Thread, b.Thread))
	})
	return all
}

// parseCall parses a complete call. To is its duration, as -T prints it.
func parseCall(body string) (c Call, ok bool) {
	m := callForm.FindStringSubmatch(body)
	if m == nil {
		return c, false
	}
	c = Call{Name: m[1], Args: m[2], Result: strings.TrimSpace(m[3])}
	if m[4] != "" {
		c.To, _ = parseTime(m[4])
	}
	return c, true
}

// An Object is what a descriptor refers to, as strace -yy prints it.
type Object struct {
	FD   int
	What string // "TCP:[127.0.0.1:80->127.0.0.1:5000]", "anon_inode:[eventpoll]", a path
}

// Objects returns the descriptors in the arguments of the call, in order.
func (c *Call) Objects() []Object { return Objects(c.Args) }

// objectForm matches a descriptor. What stands in the angle brackets may contain one itself, as "->".
var objectForm = regexp.MustCompile(`\b(\d+)<((?:TCP|TCPv6|UDP|UDPv6|UNIX|UNIX-STREAM|UNIX-DGRAM|NETLINK|anon_inode|pipe|socket):.*?\]|/[^>]*)>`)

// Objects returns the descriptors in a text.
func Objects(s string) []Object {
	var all []Object
	for _, m := range objectForm.FindAllStringSubmatch(s, -1) {
		fd, _ := strconv.Atoi(m[1])
		all = append(all, Object{fd, m[2]})
	}
	return all
}

// TCP reports whether the object is a TCP socket.
func (o Object) TCP() bool { return strings.HasPrefix(o.What, "TCP") }

// Peer returns the port at the other end of a connection, or 0 if the object is no connection.
func (o Object) Peer() int {
	_, to, ok := strings.Cut(o.What, "->")
	if !ok || !o.TCP() {
		return 0
	}
	return portOf(strings.TrimSuffix(to, "]"))
}

// Listens reports whether the object is a socket that accepts connections.
func (o Object) Listens() bool { return o.Local() != 0 && o.Peer() == 0 }

// Local returns the port at the server's end of a TCP socket, or 0.
func (o Object) Local() int {
	if !o.TCP() {
		return 0
	}
	from, _, _ := strings.Cut(strings.TrimSuffix(o.What, "]"), "->")
	return portOf(from)
}

func portOf(address string) int {
	port, _ := strconv.Atoi(address[strings.LastIndexByte(address, ':')+1:])
	return port
}

// Merge sorts lines of strace by their times.
func Merge(text string) string {
	lines := slices.Collect(strings.Lines(text))
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(stamp(a), stamp(b)) })
	return strings.Join(lines, "")
}

// stamp returns the time in a line. All times have the same number of digits.
func stamp(line string) string {
	if m := lineForm.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
		return m[2]
	}
	return ""
}

// Trim returns the lines of strace from one time to another, at most n of them. Of the lines before it keeps those that
// keep matches, and the beginnings of calls that had not returned.
func Trim(text string, from, to time.Duration, n int, keep *regexp.Regexp) string {
	var b strings.Builder
	before := map[string]string{} // by thread: the beginning of a call that has not returned
	inside := 0
	for line := range strings.Lines(text) {
		m := lineForm.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			continue
		}
		at, err := parseTime(m[2])
		if err != nil || at > to {
			continue
		}
		if at >= from {
			if inside == 0 {
				flush(&b, before)
			}
			if inside++; inside <= n {
				b.WriteString(line)
			}
			continue
		}
		switch {
		case keep.MatchString(line):
			b.WriteString(line)
		case strings.HasSuffix(m[3], unfinished):
			before[m[1]] = line
		default:
			delete(before, m[1])
		}
	}
	if inside == 0 {
		flush(&b, before)
	}
	return b.String()
}

// flush writes the lines in the order of their times.
func flush(b *strings.Builder, lines map[string]string) {
	var all []string
	for _, thread := range slices.Sorted(maps.Keys(lines)) {
		all = append(all, lines[thread])
	}
	b.WriteString(Merge(strings.Join(all, "")))
}
