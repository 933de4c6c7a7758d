package exercise

import (
	"strings"

	"fourways.example/common/servertest/stages"
)

const (
	stage1 = "stage1-iterative/server.go"
	stage2 = "stage2-threadpool/server.go"
	stage3 = "stage3-dualstack/listen.go"
	stage4 = "stage4-epoll/server.go"
	step4a = "stage4-epoll/testdata/steps/4a/server.go"
)

// servers returns the exercises about the stages and what each needs.
func servers() []Exercise {
	return []Exercise{
		{
			ID: "iterative", Title: "One connection after the other", Stage: 1, Minutes: 30,
			Cuts:    []Functions{{stage1, []string{"Serve", "handle", "serve"}}},
			Missing: "accept connections, and make the calls that each wants until it is over",
			Check: []Tests{
				tests(1, "TestHandleReleases"),
				suite(1, "content-get", "content-big", "conn-persistent", "conn-pipeline", "conn-close", "conn-reset-in-response", "body-length", "stop-idle"),
			},
			Hints: [3]string{
				"Three loops are one inside the other: over connections (Serve), over one connection's calls (serve), and the one in accept, which is still there. handle is between them: it serves, closes, and gives the slot of the connection limit back.",
				"serve asks the connection what it wants. h1.Read is a call of Fill, h1.Write one of Flush, h1.Close is the end. An error ends the connection, but not the server.",
				"In Serve, cfg.HTTP.NewWorker is made once, and its Open makes a Conn of each socket. When accept says that the server stops, the result is cfg.Stop.Err(). handle calls Close in any case, and then cfg.Conns.Release.",
			},
			Read: []string{"stage1-iterative/README.md", "docs/design.md, One connection, four ways to wait", "common/h1/worker.go, Worker", "common/cli/conns.go", "common/cli/stop.go"},
		},
		{
			ID: "worker", Title: "A thread of the pool", Stage: 2, Minutes: 15,
			Cuts:    []Functions{{stage2, []string{"work"}}},
			Missing: "serve connections from the queue, one after the other, until it is closed",
			Check:   []Tests{tests(2, "TestWork")},
			Hints: [3]string{
				"Compare with stage 1's Serve: what it does with a connection is what a worker does. Only the source of the connections differs.",
				"Each worker needs an h1.Worker of its own, because no two threads may use one. A range over a channel ends when the channel is closed and empty.",
				"The comment says that a worker has an OS thread to itself: package runtime can tie a goroutine to its thread. Do that first. Nothing needs to undo it, because the thread ends with the goroutine.",
			},
			Read: []string{"stage2-threadpool/README.md", "common/h1/worker.go, Worker", "common/servertest/pitfalls/goside/testdata/pitfalls/blocked-calls-pin-threads/README.md"},
		},
		{
			ID: "queue", Title: "The pool and its bound", Stage: 2, Minutes: 30,
			Cuts:    []Functions{{stage2, []string{"Serve"}}},
			Missing: "start the workers, and hand them connections through a bounded queue",
			Check: []Tests{
				suite(2, "content-get", "conn-persistent", "conn-head-of-line", "cli-workers", "stop-idle", "stop-finishes", "stop-finishes-request"),
				scenarios(2, "unbounded-queue", "lost-worker", "two-at-a-time"),
			},
			Hints: [3]string{
				"There are cfg.Workers workers, and one thread accepts: the one that has called Serve. What must it do when all workers are busy? Nothing: let the next client wait in the kernel's backlog.",
				"A channel with room for a fixed number of connections is a bounded queue: a send waits while it is full. At the stop, the workers must still finish what they have begun, and what is in the queue.",
				"Close the queue after the last connection, so that the workers' loops end, and wait for all of them with a sync.WaitGroup before Serve returns cfg.Stop.Err(). A worker that waits in a system call does not use a Go processor, but a busy one does: raise runtime.GOMAXPROCS by a few, so that the acceptor gets its turn.",
			},
			Read: []string{"stage2-threadpool/README.md", "docs/design.md, Go processors"},
		},
		{
			ID: "sockets", Title: "One socket or two", Stage: 3, Minutes: 30,
			Cuts:    []Functions{{stage3, []string{"Listen", "separate", "lacks"}}},
			Missing: "open the listening sockets that --bind asks for, on any machine",
			Check: []Tests{
				tests(3, "TestLacks"),
				suite(3, "cli-bind-auto", "cli-bind-dual", "cli-bind-separate", "cli-bind-4", "cli-bind-6", "start-port-in-use"),
				scenarios(3, "one-family-machine"),
				{Dir: stages.Dirs[3], Package: ".", Run: "TestFamilies$/^(both,_no_AF_INET6?|port_in_use)$", Limit: suiteLimit},
			},
			Hints: [3]string{
				"The values of --bind are 4, 6, separate, dual and auto, see docs/spec.md. Only auto may fall back: from one socket for both families to one for each. listen, which is still there, opens one socket, and one makes a list of it.",
				"A machine without a family is no failure, but a port in use is one. Which errors say that the family is missing: at socket(2), at bind(2), at setsockopt(2)? separate opens the IPv6 socket first, and the IPv4 socket must have the same port.",
				"With port 0, the kernel chooses a port for IPv6, and another program may have it for IPv4: close the first socket, and try again with two new ones, at most 10 times. Report a missing family with cfg.Note. The errors are EAFNOSUPPORT, EADDRNOTAVAIL and ENOPROTOOPT.",
			},
			Read: []string{"stage3-dualstack/README.md", "ipv6(7)", "docs/spec.md, Flags"},
		},
		{
			ID: "loop", Title: "An event loop", Stage: 4, Minutes: 45,
			Cuts:    []Functions{{step4a, []string{"loop.push", "loop.work"}}},
			Missing: "wait in epoll_wait(2), and serve the clients that are ready",
			Check:   []Tests{step("4a", "content-get", "conn-persistent", "conn-pipeline", "conn-head-of-line", "conn-idle-500", "conn-half-close")},
			Hints: [3]string{
				"One thread serves all clients, so it may wait in one place only: l.epoll.Wait. It returns how many elements of a slice of events it has filled. An acceptor's thread calls push at any time.",
				"The tag of an event is the key of its client: sock.Tag and l.clients.Get. A client may have been closed by an earlier event of the same batch. Before handle, tell the connection that an event came, otherwise it makes no system call: see h1.Conn.Ready.",
				"The table of clients is shared, so the loop holds mu except while it waits. push counts the client in open, puts it into the table under its descriptor, and watches for EPOLLOUT: a new socket is writable, so the set reports it at once, and the loop serves it. Tie the goroutine to its thread.",
			},
			Read: []string{"stage4-epoll/testdata/steps/4a/README.md", "common/slotmap/slotmap.go", "common/sock/epoll.go", "epoll(7), epoll_wait(2)", "docs/reading-traces.md, The rhythm of an event loop"},
		},
		{
			ID: "deadlines", Title: "Time-outs without threads", Stage: 4, Minutes: 30,
			Cuts:    []Functions{{"common/deadline/deadline.go", []string{"Set.Timeout", "Set.Expired"}}},
			Missing: "find the earliest deadline, and yield the entries whose deadline has passed",
			Check:   []Tests{unit("deadline", "TestEmpty", "TestTimeout", "TestPushAndRemoveWhileExpiring", "TestBreakWhileExpiring", "TestSetModel", "Example")},
			Hints: [3]string{
				"Each list is sorted, so its front is its earliest. There are few lists, and Timeout looks at the front of each, and at the list due, too.",
				"The caller's loop may change the lists while Expired yields. So Expired first moves everything that has passed into due, and then takes entries out of due one at a time.",
				"Times in entries are durations since origin: now.Sub(origin). The iterator ends when yield returns false; what is left in due comes first in the next call. An entry is disarmed before it is yielded. Timeout must not return a negative time for a deadline that has passed, because -1 means for ever.",
			},
			Read: []string{"the comment of package deadline", "stage4-epoll/testdata/steps/4b/README.md", "the documentation of package iter"},
		},
		{
			ID: "inbox", Title: "Waking a thread in epoll_wait", Stage: 4, Minutes: 45,
			Cuts:    []Functions{{"common/inbox/inbox.go", []string{"Inbox.Put", "Inbox.wakeIf", "Inbox.Sleep", "Inbox.Take"}}},
			Missing: "pass values to the owner, and wake it only if it sleeps",
			Check:   []Tests{unit("inbox", "TestAwakeOwnerIsNotWoken", "TestSleepingOwnerIsWokenOnce", "TestPutDoesNotWake", "TestTakeInParts", "TestNothingIsLost")},
			Hints: [3]string{
				"Read the comments of the fields: each says when it is true. Then write down for each method which fields it changes. All of that happens under the lock.",
				"The mistake to avoid: the owner looks, finds nothing, another thread puts a value and finds the owner awake, and the owner goes to sleep. So Sleep decides under the same lock under which values are put: with news, the owner must not sleep.",
				"wakeIf calls news, remembers its result in b.news, and wakes only if the owner is asleep and there is news; then the owner counts as awake, so that it is woken once. Call Wake of the eventfd after the lock is released. Take leaves news if it could not take everything; closed is true only with the last values.",
			},
			Read: []string{"the comments of package inbox", "eventfd(2)", "docs/design.md, The event loop"},
		},
		{
			ID: "epollout", Title: "When to watch for EPOLLOUT", Stage: 4, Minutes: 20,
			Cuts:    []Functions{{stage4, []string{"loop.watch"}}},
			Missing: "tell the epoll set which event the client waits for, and arm its time-out",
			Check:   []Tests{tests(4, "TestWatch")},
			Hints: [3]string{
				"A client that reads slowly fills the send queue. Then EPOLLIN says nothing about it: the loop must hear when there is room again. A socket with an empty send queue is always writable, so a set that watches for EPOLLOUT all the time never sleeps.",
				"Want of the connection says what the client waits for: h1.Write needs EPOLLOUT, anything else EPOLLIN. Watch of the epoll set gets what it watches so far, the descriptor, the event, and the tag. If it fails, warn, and drop this client only.",
				"Deadline of the connection returns a class and a time. Push them with the client's entry. Do that last, and not for a client that was dropped. A client with the descriptor -1 waits for its time-out alone; Watch knows that.",
			},
			Read: []string{"stage4-epoll/testdata/steps/4c/README.md", "docs/design.md, The event loop", "epoll_ctl(2)"},
		},
		{
			ID: "turns", Title: "A bounded turn for each client", Stage: 4, Minutes: 15,
			Cuts:    []Functions{{stage4, []string{"loop.handle"}}},
			Missing: "serve the client until it would have to wait, or its budget is used up",
			Check: []Tests{
				tests(4, "TestTurn", "TestWatchFails"),
				{Dir: stages.Dirs[4], Package: ".", Run: "TestTrials$/^flood$", Limit: suiteLimit},
			},
			Hints: [3]string{
				"The handle of step 4b lets one client keep the loop for as long as it always has more to read or to write. All others wait meanwhile.",
				"h1.Conn counts its system calls: SetBudget gives it a number before a turn, and Fill and Flush return h1.ErrBudget when it is used up. The constant is at the top of the file.",
				"After h1.ErrBudget the connection is neither over nor broken, so treat it like sock.ErrAgain. Watch needs no event in its call here: see its code. A level-triggered set reports the client again at once, after the others.",
			},
			Read: []string{"docs/design.md, One connection, four ways to wait", "the comments of SetBudget and ErrBudget in common/h1"},
		},
		{
			ID: "balance", Title: "Loops with equal numbers of clients", Stage: 4, Minutes: 45,
			Cuts:    []Functions{{stage4, []string{"loop.balance"}}},
			Missing: "give idle clients to loops with fewer, and wake the loops that now have more", Empty: true,
			Check: []Tests{
				tests(4, "TestBalanceWakesOnce", "TestBalanceIsBounded", "TestBalanceHandsOver", "TestBalanceStops"),
				{Dir: stages.Dirs[4], Package: ".", Run: "TestTrials$/^spread-one-loop-leaves$", Limit: suiteLimit},
			},
			Hints: [3]string{
				"A loop uses only its own clients, so it can give clients away but cannot take any. A loop with few clients can only wake one with many. The number of clients of another loop may be read at any time: surplus.",
				"Give away a client that is idle, the one that became idle last: l.timeouts.Back. Conn.Move says whether it may move. Take its descriptor out of the epoll set and the client out of this loop before another thread can see it.",
				"Stop when the surplus is at most slack, when no idle client is left, when the server stops, or after share clients; in the last case wake your own inbox, so that the next round comes at once. push and the Flush of the other's inbox hand the client over. Use l.lost, and reset it, so that a loss wakes others once.",
			},
			Read: []string{"docs/design.md, The event loop", "stage4-epoll/README.md", "the comment of Conn.Move in common/h1"},
		},
		{
			ID: "tier", Title: "Waiting for another server", Stage: 4, Minutes: 60,
			Cuts:    []Functions{{"common/h1/tier.go", []string{"Conn.sendQuestion", "Conn.hear", "Conn.failed"}}},
			Missing: "make one step of the question to the other tier, without waiting",
			Check: []Tests{
				unit("h1", "TestAskTier", "TestAskWithBudget", "TestTierFailed"),
				unit("h1", "TestAskPipelined", "TestTierFailures", "TestTierRefuses", "TestTierTimeOut", "TestStaleTier", "TestAskAgain"),
			},
			Hints: [3]string{
				"The table in conn.go has the states asking and hearing, and what ends them. Each of the three functions makes at most one system call to send or to read, and then sets a state or returns an error that says: later.",
				"sendQuestion: connect first, if that was not done; use a unit of the budget; on a blocking connection, await before a call that would block; find out how connect(2) ended; send the rest of the bytes; when all are sent, reset the parser and hear. After await, the connection to the tier must be told that it is Ready, in hear as well, because its socket is non-blocking in all stages. hear: read once, parse, and end with Garbled, ErrorReply or the replies.",
				"failed: a tier that stops closes connections, even one that it has just accepted. Ask again if no byte of the reply has come, the question may be asked twice or nothing of it was sent, and it was not asked too often. After an error that is no close, ask again only if the connection has carried a question before. Otherwise nothing sent is Refused, and something sent is Lost. End of the stream, EPIPE and ECONNRESET count as closed.",
			},
			Read: []string{"docs/design.md, Another tier", "common/h1/conn.go, the table of connState", "docs/spec.md, The other tier"},
		},
	}
}

// anyOf returns a pattern for any of some names.
func anyOf(names []string) string { return "^(" + strings.Join(names, "|") + ")$" }

// tests returns tests of a stage.
func tests(stage int, names ...string) Tests {
	return Tests{Dir: stages.Dirs[stage], Package: ".", Run: anyOf(names)}
}

// suite returns the conformance cases with these names.
func suite(stage int, names ...string) Tests {
	return Tests{Dir: stages.Dirs[stage], Package: ".", Run: "TestConformance$/" + anyOf(names), Limit: suiteLimit}
}

// step returns the same for a step from stage 3 to stage 4.
func step(name string, names ...string) Tests {
	return Tests{Dir: stages.Dirs[4], Package: ".", Run: "TestStep$/" + anyOf(names), Env: []string{"STEP=" + name}, Limit: suiteLimit}
}

// scenarios returns the scenarios of pitfalls, played against the server only.
func scenarios(stage int, ids ...string) Tests {
	return Tests{Dir: stages.Dirs[stage], Package: ".", Run: "TestPitfalls$/" + anyOf(ids) + "/^fixed$", Limit: suiteLimit}
}
