package live

import (
	"fmt"
	"slices"
	"strings"
)

// An experiment asks a question, adds the clients that answer it, and reports what it has observed. The right answer is
// not written here: judge derives it from the observation.
type experiment struct {
	id       string
	title    string
	question string
	choices  []string
	why      string // one sentence about the four stages
	run      func(t *trial) error
	judge    func(f *findings) int // the index of the choice that fits, or -1
}

// findings are what an experiment has observed, by stage from 1 on.
type findings struct {
	answered [stageCount + 1]bool  // the new client had an answer
	threads  [stageCount + 1]int   // threads or loops that have a client of the experiment
	taken    [stageCount + 1]int64 // bytes of the large file that the kernel has taken
}

// served returns the stages that have answered the new client: "234".
func (f *findings) served() string {
	all := ""
	for n := 1; n <= stageCount; n++ {
		if f.answered[n] {
			all += fmt.Sprint(n)
		}
	}
	return all
}

// bySet returns a judge for choices that are sets of stages, written as served does.
func bySet(choices ...string) func(*findings) int {
	return func(f *findings) int { return slices.Index(choices, f.served()) }
}

var experiments = []experiment{
	{
		id: "half", title: "Half a request: who must wait for the other half?",
		question: "One client sends half a request and pauses. Then a new client asks for a small file. Which stages answer the new client?",
		choices:  []string{"All four: half a request is no work yet.", "Stages 2, 3 and 4.", "Only stage 4.", "None, before the other half has come."},
		why: "The only thread of stage 1 waits for the rest of one request, and the new client waits in the kernel's backlog: " +
			"it is not lost, but it is served only after the other half. Stages 2 and 3 have three more threads; " +
			"the loop of stage 4 watches A and goes on.",
		judge: bySet("1234", "234", "4", ""),
		run: func(t *trial) error {
			slow := t.add("half", 1)
			t.settle()
			t.row("who waits for "+slow[0].name, t.calls(slow))
			t.ask()
			if !t.pause("the other half has not been sent") {
				return nil
			}
			t.say("now comes the other half")
			t.w.step(slow[0])
			t.await(settlePatience, func(s *state) bool { return !t.waits(s) })
			t.row("the new client"+t.letter()+", after the other half", t.outcomes())
			return nil
		},
	},
	{
		id: "pool", title: "Four idle clients against four threads: who gets in?",
		question: "Four clients connect and send nothing. Then a new client asks for a small file. Which stages answer the new client?",
		choices:  []string{"All four: idle clients cost nothing.", "Stages 2, 3 and 4.", "Only stage 4.", "None."},
		why: "A thread that waits in poll waits for one client, so four idle clients take the whole pool of stages 2 and 3; " +
			"a loop of stage 4 waits in one epoll_wait for all of its clients.",
		judge: bySet("1234", "234", "4", ""),
		run: func(t *trial) error {
			idle := t.add("idle", pool)
			t.settle()
			t.ask()
			t.row("where the four idle ones are", t.places(idle))
			t.row("where"+t.letter()+" is", t.places(t.fresh))
			return nil
		},
	},
	{
		id: "unread", title: "A client that does not read: where does the file go?",
		question: "A client asks for a file of 64 MiB and reads nothing. How much of the file does the kernel take from each server?",
		choices:  []string{"Nothing, before the client reads.", "A few megabytes; then the server has to wait.", "All of it: the server is done at once."},
		why: "When the kernel's buffers are full, a thread of stages 1 to 3 sleeps in sendfile until there is room; stage 4 gets EAGAIN, " +
			"lets its epoll set watch for room, and serves others meanwhile. " +
			"The bytes lie in two kernel buffers: the server's send queue and the client's receive queue.",
		judge: byTaken,
		run: func(t *trial) error {
			unread := t.add("unread", 1)
			t.settle()
			t.row("taken by the kernel", t.taken(unread[0]))
			t.row("who waits for "+unread[0].name, t.calls(unread))
			t.ask()
			return nil
		},
	},
	{
		id: "ipv6", title: "A client comes over IPv6: who lets it in?",
		question: "A client asks for a small file over IPv6. Which stages answer?",
		choices:  []string{"All four: the kernel takes care of addresses.", "Stages 3 and 4.", "Only stage 4.", "None."},
		why: "Stages 1 and 2 listen on an IPv4 socket alone, so the kernel refuses the connection before the server learns of it; " +
			"stages 3 and 4 have a socket for both families.",
		judge: bySet("1234", "34", "4", ""),
		run: func(t *trial) error {
			if !hasIPv6() {
				return fmt.Errorf("this machine has no IPv6, so this experiment would show nothing")
			}
			t.askBy("ipv6")
			return nil
		},
	},
	{
		id: "crowd", title: "A hundred idle clients: how many threads of stage 4 hold them?",
		question: "A hundred clients connect and send nothing. How many threads of stage 4 hold them, and does a new client get in?",
		choices: []string{
			"A hundred threads; the new client gets one more.", "Two threads; the new client is answered.",
			"Two threads; the new client must wait.", "Four threads; the other clients wait in the backlog.",
		},
		why: "A thread of stages 1 to 3 has one client at a time, so most of the hundred are not even accepted; " +
			"each loop of stage 4 watches many of them and is free for a new client.",
		judge: byThreads,
		run: func(t *trial) error {
			many := t.add("crowd", 1)
			t.settle()
			t.ask()
			t.row("where the hundred are", t.places(many))
			t.row("threads that hold them", t.holders(many))
			return nil
		},
	},
}

// byTaken judges how much of the large file the kernel has taken, in all stages.
func byTaken(f *findings) int {
	least, most := slices.Min(f.taken[1:]), slices.Max(f.taken[1:])
	switch {
	case most == 0:
		return 0
	case least >= largeSize:
		return 2
	case least > 0 && most < largeSize/2:
		return 1
	}
	return -1
}

// byThreads judges how stage 4 has held the crowd.
func byThreads(f *findings) int {
	switch n := f.threads[4]; {
	case n == crowd && f.answered[4]:
		return 0
	case n == eventLoops && f.answered[4]:
		return 1
	case n == eventLoops:
		return 2
	case n == pool && !f.answered[4]:
		return 3
	}
	return -1
}

// experimentOf finds an experiment by its id, or returns nil.
func experimentOf(id string) *experiment {
	for i := range experiments {
		if experiments[i].id == id {
			return &experiments[i]
		}
	}
	return nil
}

// inWords sums up where connections are: "4 with a thread each", "50 in loop 1, 50 in loop 2".
func inWords(conns []connView) string {
	var parts []string
	withThread := 0
	counts := map[string]int{}
	var order []string
	for _, c := range conns {
		text := ""
		switch {
		case c.Place == "backlog":
			text = "in the backlog"
		case c.Place == "queue":
			text = "accepted without a thread"
		case strings.HasPrefix(c.Owner, "loop"):
			text = "in " + c.Owner
		default:
			withThread += c.N
			continue
		}
		if counts[text] == 0 {
			order = append(order, text)
		}
		counts[text] += c.N
	}
	switch {
	case withThread == 1 && len(order) == 0:
		return "has a thread"
	case withThread == 1:
		parts = append(parts, "1 has a thread")
	case withThread > 1:
		parts = append(parts, fmt.Sprintf("%d have a thread each", withThread))
	}
	for _, text := range order {
		if len(order) == 1 && counts[text] == 1 && withThread == 0 {
			return text
		}
		parts = append(parts, fmt.Sprintf("%d %s", counts[text], text))
	}
	if len(parts) == 0 {
		return "nowhere: it is done"
	}
	return strings.Join(parts, ", ")
}
