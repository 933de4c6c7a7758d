package exercise

import (
	"os"
	"strings"
	"testing"
	"time"

	"fourways.example/lab/learner/learn/tree"
	"fourways.example/lab/support/slow"
)

// A mistake is a change of the real code, as a reader may write it. The check must refuse it.
type mistake struct{ exercise, name, file, old, new string }

var mistakes = []mistake{
	{
		"buffer", "Grow keeps discarded bytes", "common/stream/buffer.go",
		"b.start", "0",
	},
	{
		"eintr", "one repetition", "common/sock/sock.go",
		"if err := call(); err != unix.EINTR {\n\t\t\treturn err\n\t\t}", "return call()",
	},
	{"chunked", "trailers without a limit of their own", "common/h1/chunked.go", "\t\tp.headEnd = p.req.in.Pos() + 1 + maxHead\n", ""},
	{"chunked", "trailers count with the fields of the head", "common/h1/chunked.go", "\t\tp.fields = 0\n", ""},
	{"chunked", "the extensions do not count with the digits", "common/h1/chunked.go", "\t\t\tp.chunkLine = p.at\n", ""},
	{"chunked", "sizes compared as signed numbers", "common/h1/chunked.go", "p.chunkSize > uint64(maxBody-len(p.body))", "int64(p.chunkSize) > int64(maxBody-len(p.body))"},
	{"short-write", "no MSG_MORE after the head", "common/h1/respond.go", "ex.part < len(parts))", "false)"},
	{"short-write", "no MSG_MORE between parts", "common/h1/respond.go", "c.sock.Send(ex.res.memory(p), !last)", "c.sock.Send(ex.res.memory(p), false && last)"},
	{"short-write", "MSG_MORE after the last part", "common/h1/respond.go", "c.sock.Send(ex.res.memory(p), !last)", "c.sock.Send(ex.res.memory(p), last || true)"},
	{"short-write", "MSG_MORE after 100 Continue", "common/h1/respond.go", "ex.part < len(parts))", "ex.part < len(parts) || c.state != responding)"},
	{"short-write", "a whole file with one call", "common/h1/respond.go", "min(p.n, sendfileStep)", "p.n"},
	{"short-write", "counts what was offered", "common/h1/respond.go", "p.n -= int64(n)", "p.n -= int64(offered)"},
	{"queue", "no processor for the acceptor", stage2, "\truntime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), min(cfg.Workers, 4)+len(listeners)))\n", "\t_ = runtime.GOMAXPROCS\n"},
	{"queue", "the workers are not waited for", stage2, "\tworkers.Wait()\n", ""},
	{"sockets", "IPv6 must be there", stage3, "} else if !lacks(err6) {", "} else {"},
	{"sockets", "IPv4 must be there", stage3, "case err6 == nil && lacks(err4):", "case false:"},
	{"sockets", "dual falls back", stage3, `cfg.Bind == "auto" && lacks(err)`, `lacks(err)`},
	{"loop", "the lock is held while the loop waits", step4a, "\t\tn, err := l.epoll.Wait(events, -1)\n", "\t\tl.mu.Lock()\n\t\tn, err := l.epoll.Wait(events, -1)\n\t\tl.mu.Unlock()\n"},
	{"epollout", "always EPOLLOUT", stage4, "\tevents := uint32(unix.EPOLLIN)\n", "\tevents := uint32(unix.EPOLLIN | unix.EPOLLOUT)\n"},
	{"epollout", "never EPOLLOUT", stage4, "\t\tevents = unix.EPOLLOUT\n", ""},
	{"epollout", "an error of Watch is ignored", stage4, "\t\tl.drop(c)\n\t\treturn\n", ""},
	{"epollout", "a dropped client gets a time-out", stage4, "\t\tl.drop(c)\n\t\treturn\n", "\t\tl.drop(c)\n"},
	{"turns", "no budget", stage4, "\tc.conn.SetBudget(budget)\n", ""},
	{"turns", "a client without budget is dropped", stage4, "case sock.ErrAgain, h1.ErrBudget:", "case sock.ErrAgain:"},
	{"balance", "also at the stop", stage4, "l.surplus(other) > slack && !l.cfg.Stop.Stopping()", "l.surplus(other) > slack"},
	{"balance", "the descriptor stays in the set", stage4, "\t\t\tl.epoll.Unwatch(&idle.Value.watched)\n", ""},
	{"balance", "nobody is woken", stage4, "\t\t\tother.inbox.Flush()\n", ""},
	{"balance", "no end of a round", stage4, "given++; given > share", "given++; given > 1000"},
	{"tier", "the budget before the connection", "common/h1/tier.go", "\tif !q.dialed { // this", "\tif !c.useBudget() {\n\t\treturn ErrBudget\n\t}\n\tif !q.dialed { // this"},
	{"tier", "no end of repeats", "common/h1/tier.go", "&& q.repeats < maxRepeats ", ""},
	{"tier", "a question is repeated that must not be", "common/h1/tier.go", "&& (q.Again || q.sent == 0)", ""},
	{"tier", "no repeat after an error on a used connection", "common/h1/tier.go", "case (closed || q.tier.reused) &&", "case closed &&"},
	{"tier", "a repeat after an error on a fresh connection", "common/h1/tier.go", "case (closed || q.tier.reused) &&", "case (closed || true) &&"},
	{"tier", "a repeat after the first byte", "common/h1/tier.go", "&& !q.heard ", ""},
	{"tier", "an error reply counts as a reply", "common/h1/tier.go", "q.reply.Outcome = ErrorReply", "_ = ErrorReply"},
}

// TestSlowMistakes checks that the checks refuse wrong code that looks right.
func TestSlowMistakes(t *testing.T) {
	slow.Test(t)
	t.Parallel() // each has a copy of the tree
	from, root := repo(t).Root, t.TempDir()
	if err := tree.Copy(from, root, nil); err != nil {
		t.Fatal(err)
	}
	only := os.Getenv("EXERCISE")
	for _, m := range mistakes {
		if only != "" && m.exercise != only {
			continue
		}
		t.Run(m.exercise+"/"+m.name, func(t *testing.T) {
			e, _, err := Find(m.exercise)
			if err != nil {
				t.Fatal(err)
			}
			original, err := ReadFrom(from)(m.file)
			if err != nil {
				t.Fatal(err)
			}
			wrong := strings.Replace(string(original), m.old, m.new, 1)
			if wrong == string(original) {
				t.Fatalf("%s has no %q", m.file, m.old)
			}
			put(t, root, m.file, []byte(wrong))
			start := time.Now()
			grade(t, root, e, false, m.name)
			t.Logf("refused after %.1f s", time.Since(start).Seconds())
			put(t, root, m.file, original)
		})
	}
}
