package exercise

// A half is a change that a reader may try: it ends a bug's symptom, or a part of it, but the code is still wrong.
type half struct {
	name  string
	file  string
	edits []string // old and new text in turn; the old text is in the file once
}

const (
	conn    = "common/h1/conn.go"
	respond = "common/h1/respond.go"
	timeout = "common/h1/timeout.go"
)

// halves are the half fixes by the name of the pitfall.
var halves = map[string][]half{
	"short-read": {
		{"only heads", conn, []string{"case phaseHead:\n\t\tc.refuse(errTruncated)", "case phaseHead:\n\t\tc.enter(readingHead)"}},
		{"bodies as heads", conn, []string{
			"case phaseHead:\n\t\tc.refuse(errTruncated)", "case phaseHead:\n\t\tc.enter(readingHead)",
			"\t\tc.refuse(errTruncated)\n\t}\n}", "\t\tc.enter(readingHead)\n\t}\n}",
		}},
		{"wait without a state", conn, []string{
			"case phaseHead:\n\t\tc.refuse(errTruncated)", "case phaseHead:",
			"\t\tc.refuse(errTruncated)\n\t}\n}", "\t}\n}",
		}},
	},
	"leftover": {
		{"keep everything", respond, []string{"\tex.in.Reset(ex.in.End(), baseBuffer)\n", ""}},
		{"empty an empty buffer only", respond, []string{
			"\tex.in.Reset(ex.in.End(), baseBuffer)\n",
			"\tif len(ex.in.Unread()) == 0 {\n\t\tex.in.Reset(ex.in.End(), baseBuffer)\n\t}\n",
		}},
	},
	"first-eof": {
		{"always leave", conn, []string{
			"case n == 0 && ex.parser.phase == phaseBefore:\n\t\treturn n, nil\n\tcase n == 0:\n\t\tc.endOfStream()",
			"case n == 0:\n\t\tc.leave(0)",
		}},
		{"only the first request", conn, []string{
			"ex.parser.phase == phaseBefore:\n\t\treturn n, nil",
			"ex.parser.phase == phaseBefore && c.sent > 0:\n\t\treturn n, nil",
		}},
		{"refuse", conn, []string{
			"ex.parser.phase == phaseBefore:\n\t\treturn n, nil",
			"ex.parser.phase == phaseBefore:\n\t\tc.refuse(errTruncated)",
		}},
	},
	"short-write": {
		{"only files", respond, []string{
			"\tif p.n -= int64(offered); p.n == 0 {",
			"\ttook := int64(offered)\n\tif p.file != nil {\n\t\ttook = int64(n)\n\t}\n\tif p.n -= took; p.n == 0 {",
		}},
		{"only memory", respond, []string{
			"\tif p.n -= int64(offered); p.n == 0 {",
			"\ttook := int64(offered)\n\tif p.file == nil {\n\t\ttook = int64(n)\n\t}\n\tif p.n -= took; p.n == 0 {",
		}},
	},
	"no-keepalive-close": {
		{"not for HTTP/1.0", respond, []string{"res.close || w.cfg", "res.close || req.close && req.Minor > 0 || w.cfg"}},
		{"always close", respond, []string{"c.closing || c.refused || res.close || w.cfg.stopping()", "true"}},
		{"an exact value", respond, []string{
			"\tc.closing = c.closing ||", "\tvalue, _ := req.Get(\"Connection\")\n\tc.closing = c.closing || string(value) == \"close\" ||",
		}},
	},
	"extra-bytes": {
		{"only 200", respond, []string{"if ex.part == len(res.parts) {", "if ex.part == len(res.parts) && res.Status != 200 {"}},
		{"only GET", respond, []string{"if ex.part == len(res.parts) {", "if ex.part == len(res.parts) && req.Method != GET {"}},
	},
	"lost-worker": {
		{"a new worker", stage2, []string{"err != nil {\n\t\t\treturn\n", "err != nil {\n\t\t\tgo work(queue, cfg)\n\t\t\treturn\n"}},
		{"only resets", stage2, []string{
			"handle(&conn, cfg); err != nil {", "handle(&conn, cfg); err != nil && !errors.Is(err, unix.ECONNRESET) {",
			"import (\n", "import (\n\t\"errors\"\n", "common/sock\"\n", "common/sock\"\n\t\"golang.org/x/sys/unix\"\n",
		}},
	},
	"unbounded-queue": {
		{"drop what does not fit", stage2, []string{
			"\t\tgo func() { queue <- s }()\n",
			"\t\tselect {\n\t\tcase queue <- s:\n\t\tdefault:\n\t\t\t_ = s.Close()\n\t\t\tcfg.Conns.Release()\n\t\t}\n",
		}},
		{"a large queue", stage2, []string{
			"make(chan sock.Conn, cfg.Workers)", "make(chan sock.Conn, 1000)",
			"\t\tgo func() { queue <- s }()\n", "\t\tqueue <- s\n",
		}},
		{"a goroutine for each, a few at a time", stage2, []string{
			"\tvar workers sync.WaitGroup\n", "\troom := make(chan bool, 1)\n\tvar workers sync.WaitGroup\n",
			"\t\tgo func() { queue <- s }()\n", "\t\troom <- true\n\t\tgo func() { queue <- s; <-room }()\n",
		}},
	},
	"no-epollout": {
		{"both events at all times", stage4, []string{"events := uint32(unix.EPOLLIN)", "events := uint32(unix.EPOLLIN | unix.EPOLLOUT)"}},
		{"only EPOLLOUT", stage4, []string{"events := uint32(unix.EPOLLIN)", "events := uint32(unix.EPOLLOUT)"}},
		{"send until everything is sent", stage4, []string{
			"\t\t\terr = c.Flush()\n",
			"\t\t\tfor err = c.Flush(); err == sock.ErrAgain; err = c.Flush() {\n\t\t\t\tc.Ready()\n\t\t\t\tc.SetBudget(budget)\n\t\t\t}\n",
		}},
	},
	"stale-fd": {
		{"only the loop", stage4, []string{"\tc.conn.Close()\n\tc.closed = true\n", "\tl.forget(c)\n\tc.conn.Close()\n\tc.closed = true\n"}},
		{"only the keys", "common/slotmap/slotmap.go", []string{"\tm.count = 1\n", "\tif m.count++; m.count == 0 {\n\t\tm.count = 1\n\t}\n"}},
		{"leave the entries", stage4, []string{"\t\t\t\tl.forget(e.Value)\n", ""}},
	},
	"slowloris": {
		{"only heads", timeout, []string{"\tc.since, c.probedAt, c.probes = at, at, 0\n", "\tif to != readingHead || c.state != readingHead {\n\t\tc.since, c.probedAt, c.probes = at, at, 0\n\t}\n"}},
		{"never again", timeout, []string{"\tc.since, c.probedAt, c.probes = at, at, 0\n", "\tif c.since == 0 {\n\t\tc.since, c.probedAt, c.probes = at, at, 0\n\t}\n"}},
	},
}
