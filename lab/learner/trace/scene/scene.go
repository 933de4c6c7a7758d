// Package scene turns a tape into what a picture shows: a lane for each thread that did something, with a bar for
// each system call, and the actions of the clients. All of it is computed from the tape alone.
package scene

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"fourways.example/lab/learner/trace/tape"
)

// A Scene is the content of a picture of one server. All times are relative to the first action of a client.
type Scene struct {
	Title    string
	Result   string // what to see in it, in some words
	Notes    []string
	Clients  []string // the names of the clients, in the order of their first actions
	Steps    []tape.Step
	Lanes    []Lane
	From, To time.Duration
	LeftOut  int // calls of the time shown that the picture leaves out, because there are too many
}

// A Lane is a thread. A goroutine that moves from one thread to the next has one lane, unless Options.All is set.
type Lane struct {
	Role    string // "acceptor", "worker 2"
	Threads []int
	Bars    []Bar
}

// A Bar is a system call.
type Bar struct {
	tape.Call
	Client string // the client whose connection the call is about, "" for none
	Wait   bool   // the thread waited in the call, rather than worked
	Says   string // what the call does, in words: "waits for slow"
}

// Options say what a scene contains.
type Options struct {
	All  bool // also the calls by which the Go runtime parks and wakes threads, and a lane for each thread
	Most int  // the greatest number of calls; 0 means no bound
}

// before is how much time before the first action a scene shows.
const before = 5 * time.Millisecond

// New returns the scene of a tape.
func New(t *tape.Tape, o Options) *Scene {
	start, end := t.Steps[0].From, t.End
	sc := &Scene{Title: t.Title, Notes: t.Notes, Clients: t.Names(), From: -before, To: end - start}
	for _, s := range t.Steps {
		s.From, s.To = s.From-start, s.To-start
		sc.Steps = append(sc.Steps, s)
	}
	calls := tape.Calls(t.Strace)
	w := newWatcher(t)
	shown := 0
	var bars []Bar
	for _, c := range calls {
		b, noise := w.bar(c)
		if noise && !o.All || c.To < start+sc.From || c.From > end {
			continue
		}
		if shown++; o.Most > 0 && shown > o.Most {
			sc.LeftOut++
			continue
		}
		b.From, b.To = b.From-start, min(b.To-start, sc.To)
		if b.Open {
			b.To = sc.To
		}
		b.From = max(b.From, sc.From)
		bars = append(bars, b)
	}
	if sc.LeftOut > 0 && len(bars) > 0 { // the picture ends where its calls end
		last := bars[len(bars)-1].From
		sc.To = last
		sc.Steps = slices.DeleteFunc(sc.Steps, func(s tape.Step) bool { return s.From > last })
	}
	sc.Lanes = lanes(bars, o.All)
	return sc
}

// lanes sorts the bars into lanes.
func lanes(bars []Bar, all bool) []Lane {
	type key struct {
		thread int
		log    bool
	}
	found := map[key]*Lane{}
	var order []*Lane
	for _, b := range bars {
		k := key{b.Thread, b.log() && !all} // the log is written by a goroutine of its own, on any thread
		l := found[k]
		if l == nil {
			l = &Lane{Threads: []int{b.Thread}}
			found[k] = l
			order = append(order, l)
		}
		l.Bars = append(l.Bars, b)
	}
	if !all {
		order = join(order)
	}
	return name(order)
}

// join joins the lanes of threads that used the same socket one after the other, and never at the same time. Such
// threads have run the same goroutine: the Go runtime may move a goroutine to another thread after each call.
func join(order []*Lane) []*Lane {
	var joined []*Lane
	for _, l := range order {
		i := slices.IndexFunc(joined, func(j *Lane) bool { return sameWork(j, l) && !overlap(j, l) })
		if i < 0 {
			joined = append(joined, l)
			continue
		}
		j := joined[i]
		j.Threads = append(j.Threads, l.Threads...)
		j.Bars = append(j.Bars, l.Bars...)
		slices.SortStableFunc(j.Bars, func(a, b Bar) int { return cmp.Compare(a.From, b.From) })
	}
	if len(joined) < len(order) { // a longer lane may now meet another one
		return join(joined)
	}
	return joined
}

// sameWork reports whether two lanes used the same socket, or both did nothing but write the log.
func sameWork(a, b *Lane) bool {
	used := a.sockets()
	for s := range b.sockets() {
		if used[s] {
			return true
		}
	}
	return false
}

// sockets are what the calls of a lane were about.
func (l *Lane) sockets() map[string]bool {
	all := map[string]bool{}
	for _, b := range l.Bars {
		for _, o := range b.Objects() {
			if o.TCP() {
				all[o.What] = true
			}
		}
		if b.log() {
			all["log"] = true
		}
	}
	return all
}

// log reports whether the call writes to stdout or stderr.
func (b *Bar) log() bool {
	fd, _, _ := strings.Cut(b.Args, ",")
	fd, _, _ = strings.Cut(fd, "<")
	return b.Name == "write" && (fd == "1" || fd == "2")
}

// overlap reports whether a call of one lane ran while a call of the other did.
func overlap(a, b *Lane) bool {
	i, j := 0, 0
	for i < len(a.Bars) && j < len(b.Bars) {
		x, y := a.Bars[i], b.Bars[j]
		if x.From < y.To && y.From < x.To {
			return true
		}
		if x.To < y.To {
			i++
		} else {
			j++
		}
	}
	return false
}

// The roles of threads, in the order in which the lanes stand.
const (
	roleOnly     = "accepts and serves"
	roleAcceptor = "acceptor"
	roleLoop     = "event loop"
	roleWorker   = "worker"
	roleOther    = "thread"
	roleLog      = "writes the log"
	roleRuntime  = "Go runtime"
)

var roles = []string{roleOnly, roleAcceptor, roleLoop, roleWorker, roleOther, roleLog, roleRuntime}

// name gives each lane its role, with a number if several have it, and sorts the lanes by role.
func name(order []*Lane) []Lane {
	count := map[string]int{}
	for _, l := range order {
		l.Role = l.role()
		count[l.Role]++
	}
	slices.SortStableFunc(order, func(a, b *Lane) int {
		return cmp.Compare(slices.Index(roles, a.Role), slices.Index(roles, b.Role))
	})
	given := map[string]int{}
	var all []Lane
	for _, l := range order {
		if role := l.Role; count[role] > 1 {
			given[role]++
			l.Role = fmt.Sprintf("%s %d", role, given[role])
		}
		all = append(all, *l)
	}
	return all
}

func (l *Lane) role() string {
	accepts, serves, loops, logs, works := false, false, false, false, false
	for _, b := range l.Bars {
		if isNoise(b.Name) || b.Signal {
			continue
		}
		works = true
		switch os := b.Objects(); {
		case isEpollWait(b.Name):
			loops = true
		case b.log():
			logs = true
		case len(os) > 0 && os[0].Listens():
			accepts = true
		case len(os) > 0 && os[0].TCP():
			serves = true
		}
	}
	switch {
	case accepts && (serves || loops):
		return roleOnly
	case accepts:
		return roleAcceptor
	case loops:
		return roleLoop
	case serves:
		return roleWorker
	case logs:
		return roleLog
	case works:
		return roleOther
	}
	return roleRuntime
}
