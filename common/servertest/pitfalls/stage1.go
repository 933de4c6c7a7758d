package pitfalls

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/wire"
)

// plainGet is a request for a small file.
var plainGet = wire.Request("GET", "/plain.txt", "")

// stage1Scenarios are about buffered I/O: a stream has no messages, and every call may do less than
// it was asked for.
func stage1Scenarios() []Scenario {
	return []Scenario{
		{
			ID: "short-read", Stage: 1,
			Bug:      "one read(2) is taken for the whole request",
			Question: "A request arrives in two TCP segments, the second one a moment after the first. What does the client get?",
			Choices:  []string{"the answer, as ever: TCP puts the pieces together", "400, before it has sent the second piece", "nothing: the server waits for ever"},
			Answer:   1, Assertion: "answered-whatever-the-split",
			Usually: "that the code believes in messages: read(2) returns what has come so far, and a request ends where its syntax says so",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.parse", Has: "c.enter(readingHead)"},
				{Dir: "common/h1", Func: "Parser.Parse"},
			},
			Run: func(s *S) {
				a := s.Connect("A")
				for _, way := range []struct {
					what string
					send func(what, data string)
				}{
					{"GET /plain.txt in one piece", func(what, data string) { a.Send(what, data) }},
					{"it again, cut behind byte 20", func(what, data string) { a.SendPieces(what, data, 20) }},
					{"it again, the last line end as a piece of its own", func(what, data string) { a.SendPieces(what, data, len(data)-2) }},
					{"it again, byte by byte", func(what, data string) { a.Drip(what, data) }},
				} {
					way.send(way.what, plainGet)
					resp, _ := a.Answer()
					s.Assert(resp != nil && resp.Status == 200, "%s: not answered with 200", way.what)
				}
			},
		},
		{
			ID: "leftover", Stage: 1,
			Bug:      "bytes behind the first request are dropped",
			Question: "A client pipelines 100 requests: it sends them all at once, then reads. How many answers does it get?",
			Choices:  []string{"100", "1", "some number in between, another one each time"},
			Answer:   1, Assertion: "all-100-answered",
			Usually: "that the buffer is emptied for each request: what one read brought beyond a request is the beginning of the next",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.sentAll", Has: "ex.in.Discard()"},
				{Dir: "common/stream", Func: "Buffer.Discard"},
			},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("POST /echo with the body 0", wire.Request("POST", "/echo", "0"))
				_, err := a.Answer()
				if err != nil {
					s.Fatalf("not even one request is answered: %v", err)
				}
				var all strings.Builder
				for i := range 100 {
					all.WriteString(wire.Request("POST", "/echo", fmt.Sprint(i)))
				}
				a.Send("100 of them in one piece, with the bodies 0 to 99", all.String())
				n := a.Answers(100, func(i int, resp *Response) error {
					if string(resp.Body) != fmt.Sprint(i) {
						return fmt.Errorf("the answer to another request: %q", resp.Body)
					}
					return nil
				})
				s.Assert(n == 100, "%d of 100 pipelined requests answered", n)
			},
		},
		{
			ID: "unbuffered", Stage: 1,
			Bug:      "the head is read one byte at a time",
			Question: "So that it does not take bytes of the next request, the server reads a head one byte at a time. Ten requests come, of some 700 bytes each. How many times does it call recv(2)?",
			Choices:  []string{"10 times, the kernel does the rest", "some 70 times", "more than 7,000 times"},
			Answer:   2, Assertion: "few-reads",
			Usually: "that the code is afraid to read too much: a buffer that lives as long as the connection makes it harmless",
			Where: []Place{
				{Dir: "common/stream", Func: "Buffer.Fill", Has: "r.Read("},
				{Dir: "common/h1", Func: "Conn.receive", Has: "ex.in.Fill"},
			},
			Strace: []string{"recvfrom", "recvmsg", "read", "readv"},
			Run: func(s *S) {
				a := s.Connect("A")
				head := wire.Request("GET", "/plain.txt", "", "Cookie: "+strings.Repeat("0123456789", 65))
				before := s.Calls(s.Scenario.Strace...)
				s.Step("A asks 10 times, with %d bytes each, and reads the answers", len(head))
				for range 10 {
					a.Put(head)
					if resp, err := a.Take("GET"); err != nil || resp.Status != 200 {
						s.Fatalf("not answered with 200: %s", scenario.InWords(resp, err))
					}
				}
				s.Saw("10 answers")
				s.Step("how often has the server called recv(2) or read(2)?")
				n := s.Calls(s.Scenario.Strace...) - before
				s.Saw("%d times", n)
				s.Assert(n <= 40, "%d reads for 10 requests", n)
			},
		},
		{
			ID: "short-write", Stage: 1,
			Bug:      "what send(2) returns is ignored",
			Question: "A downloads 24 MiB and reads slowly, so the server waits in its send. Then the send returns early, because of a signal or a time-out, with less than it was given. The server does not look. What does A get?",
			Choices:  []string{"all of it: the kernel sends the rest by itself", "less than was announced, and then it waits for ever", "an error, at once"},
			Answer:   1, Assertion: "every-byte-arrives",
			Usually: "that send, write or sendfile is believed to be all or nothing: it returns how much the kernel took, and the rest is the caller's",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.send", Has: "p.n -= "},
				{Dir: "common/h1", Func: "Conn.Flush"},
			},
			Run: func(s *S) {
				big := s.Root.Big()
				a := s.Connect("A")
				a.Send("GET /big.bin, and does not read", wire.Request("GET", "/big.bin", ""))
				at, early := 0, 0
				s.Step("A reads 200,000 bytes now and then; while the server waits in its send, a signal comes")
				resp, err := a.Client().Stream(func(_ *Response, in io.Reader) error {
					for buf := make([]byte, 200_000); ; {
						if early < 3 && s.Interrupt() {
							early++
						}
						n, err := io.ReadFull(in, buf)
						for i, b := range buf[:n] {
							if big[at+i] != b {
								return fmt.Errorf("byte %d is another one", at+i)
							}
						}
						if at += n; errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && at == len(big) {
							return nil
						}
						if err != nil {
							return err
						}
					}
				})
				if resp == nil {
					s.Fatalf("no answer: %s", scenario.InWords(nil, err))
				}
				then := "each as in the file"
				if err != nil {
					then = "then " + scenario.InWords(nil, errors.Unwrap(err))
				}
				s.Saw("%d of %d bytes, %s", at, len(big), then)
				s.Assert(err == nil && at == len(big), "of %d bytes %d come, %s", len(big), at, then)
			},
		},
		{
			ID: "pointer", Stage: 1,
			Bug:      "a header field is kept as a slice, while the buffer behind it is compacted",
			Question: "The parser keeps a slice of the Cookie field's bytes. Then the buffer is full, and the bytes that are still needed move to its front. The head ends, and the cookie is looked at. What is in it?",
			Choices:  []string{"the cookie: Go keeps alive what a slice points to", "nothing: the slice is nil now", "bytes of another part of the request", "the program has crashed"},
			Answer:   2, Assertion: "cookie-as-sent",
			Usually: "that a pointer into a buffer outlives the next read: keep positions, and ask for the bytes when they are needed",
			Where: []Place{
				{Dir: "common/h1", Func: "Request.bytes"},
				{Dir: "common/stream", Func: "Buffer.Bytes"},
				{Dir: "common/stream", Func: "Buffer.Grow", Has: "copy("},
			},
			Env: []string{"USER_NAME=ann", "USER_PASS=secret", "SECRET=0123456789abcdef0123456789abcdef"},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("POST /api/login with name and password", wire.Request("POST", "/api/login", `{"username": "ann", "password": "secret"}`))
				resp, err := a.Answer()
				if err != nil || resp.Status != 200 {
					s.Fatalf("no login: %s", scenario.InWords(resp, err))
				}
				cookie, _, _ := strings.Cut(resp.Get("Set-Cookie"), ";")
				who := func(why string) {
					resp, err := a.Answer()
					s.Assert(err == nil && resp.Status == 200 && bytes.Contains(resp.Body, []byte(`"ann"`)), "%s", why)
				}
				a.Send("GET /api/login with its cookie", wire.Request("GET", "/api/login", "", "Cookie: "+cookie))
				who("the cookie of a small request is not recognised")
				a.Send("8,000 bytes of GET /healthz, and behind it 12,000 of GET /api/login, which begin with the cookie",
					wire.Request("GET", "/healthz", "", "X-Fill: "+strings.Repeat("x", 8000))+
						wire.Request("GET", "/api/login", "", "Cookie: "+cookie, "X-Fill: "+strings.Repeat("y", 12000)))
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("GET /healthz: %s", scenario.InWords(resp, err))
				}
				who("the cookie is not recognised where the buffer was compacted behind it")
			},
		},
		{
			ID: "no-truncate", Stage: 1,
			Bug:      "what was read is never dropped",
			Question: "20,000 requests of 1 KB come on one connection, one right behind the other. All are answered. What has become of the server?",
			Choices:  []string{"nothing: the garbage collector has seen to it", "it has grown by some 20 MB or more", "it has crashed"},
			Answer:   1, Assertion: "memory-flat",
			Usually: "that a buffer is only ever appended to: bytes that nobody needs any more must be dropped from its front",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.sentAll", Has: "ex.in.Discard()"},
				{Dir: "common/stream", Func: "Buffer.Fill"},
			},
			Flags: []string{"-s"},
			Run: func(s *S) {
				const n, some = 20_000, 500
				a := s.Connect("A")
				// 1,021 bytes, so that they never end where a read of the server ends.
				one := wire.Request("GET", "/healthz", "")
				one = wire.Request("GET", "/healthz", "", "X-Fill: "+strings.Repeat("x", 1021-len(one)-len("X-Fill: \r\n")))
				a.Send(fmt.Sprintf("%d requests, and reads the answers", some), strings.Repeat(one, some))
				for i := range some {
					if _, err := a.Take("GET"); err != nil {
						s.Fatalf("answer %d: %s", i, scenario.InWords(nil, err))
					}
				}
				s.Saw("%d answers", some)
				before := s.Server.Memory("VmHWM")
				sent := a.SendLater(fmt.Sprintf("%d more without a pause", n), strings.Repeat(one, n))
				for i := range n {
					if _, err := a.Take("GET"); err != nil {
						s.Fatalf("answer %d: %s", i, scenario.InWords(nil, err))
					}
				}
				<-sent
				s.Saw("%d answers", n)
				s.Step("how much more memory has the server needed for these?")
				grown := s.Server.Memory("VmHWM") - before
				if grown < 8<<20 {
					s.Saw("less than 8 MiB")
				} else {
					s.Saw("%d MiB", grown>>20)
				}
				s.Assert(grown < 8<<20, "%d requests on one connection took %d MiB of memory", n, grown>>20)
			},
		},
		{
			ID: "extra-bytes", Stage: 1,
			Bug:      "a line end is sent behind the body, where Content-Length ends already",
			Question: "The server ends each body with one CR LF too many, which Content-Length does not count. Who notices?",
			Choices:  []string{"curl, at once: it complains", "nobody, ever", "a strict client, at the second answer on the connection"},
			Answer:   2, Assertion: "next-answer-begins-with-HTTP",
			Usually: "that something is written for the eye (a line end behind a body) which the announced length does not count",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.queue"},
				{Dir: "common/h1", Func: "Response.appendHead", Has: "Content-Length"},
			},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if _, err := a.Answer(); err != nil {
					s.Fatalf("no answer: %v", err)
				}
				a.Send("the same request again", plainGet)
				_, err := a.Answer()
				s.Assert(err == nil, "the second answer on the connection is misread: %v", err)
				a.Send("a third one", plainGet)
				_, err = a.Answer()
				s.Assert(err == nil, "the third answer on the connection is misread: %v", err)
				s.Step("A looks for bytes behind the last answer")
				time.Sleep(20 * time.Millisecond)
				if a.Silent() {
					s.Saw("none")
				} else {
					s.Saw("some")
				}
				s.Assert(a.Silent(), "there are bytes behind the last body")
			},
		},
		{
			ID: "first-eof", Stage: 1,
			Bug:      "read(2) returns 0, and the server waits for more",
			Question: "A connects and leaves without a word. Then B asks for a page. What does B get?",
			Choices:  []string{"its page", "an empty answer", "nothing: the server is busy with A, who is gone"},
			Answer:   2, Assertion: "next-client-served",
			Usually: "that a return value of 0 is taken for \"nothing yet\": it is the end of the stream, and poll(2) will report it for ever",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.receive", Has: "case n == 0"},
				{Dir: "common/h1", Func: "Conn.endOfStream"},
			},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Close()
				b := s.Connect("B")
				b.Send("GET /plain.txt", plainGet)
				resp, err := b.Answer()
				s.Assert(resp != nil && resp.Status == 200, "behind a client that connected and left, the next one gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "epipe-retry", Stage: 1,
			Bug:      "a write to a client that has left is tried again",
			Question: "A starts a download and leaves in the middle of it. The server's send fails with EPIPE, and the server tries again. What follows?",
			Choices:  []string{"it gives up in the end: the kernel's time-out", "it tries for ever, and uses up a CPU", "it is killed by SIGPIPE"},
			Answer:   1, Assertion: "descriptor-freed",
			Usually: "that all errors are treated alike: EINTR and EAGAIN are worth another try, EPIPE and ECONNRESET never are",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.Flush", Has: "case err != nil"},
				{Dir: "STAGE", Func: "handle"},
			},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /big.bin, and does not read", wire.Request("GET", "/big.bin", ""))
				s.Stalled(a)
				a.Reset()
				s.Step("does the server close its end?")
				freed := s.Until(func() bool { return s.Server.Connections() <= 0 })
				if freed {
					s.Saw("yes")
				} else {
					s.Saw("no: it still holds the descriptor")
				}
				s.Assert(freed, "the client has left, and the server still holds its connection")
				b := s.Connect("B")
				b.Send("GET /plain.txt", plainGet)
				if resp, err := b.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("the next client gets: %s", scenario.InWords(resp, err))
				}
			},
		},
		{
			ID: "sigpipe-stdout", Stage: 1,
			Bug:      "SIGPIPE is left as Go has it: harmless for a socket, deadly for stdout",
			Question: "The server is started with `server | head -1`: head prints the first line and leaves. What happens at the next request?",
			Choices:  []string{"it is answered, and the log line is lost", "it may still be answered, but then the server is gone", "the server waits for ever in its write to stdout"},
			Answer:   1, Assertion: "serves-without-a-reader-of-its-log",
			Usually: "that a write to a pipe without a reader kills: Go turns SIGPIPE into an error for every descriptor but 1 and 2",
			Where: []Place{
				{Dir: "common/cli", Func: "Parse", Has: "SIGPIPE)"},
				{Dir: "common/accesslog", Func: "Output.write", Has: "EPIPE"},
			},
			NoServer: true,
			Run: func(s *S) {
				s.Step("the server is started with a pipe for its stdout, and its first line is read")
				out, in, err := os.Pipe()
				if err != nil {
					s.Fatalf("%v", err)
				}
				server := s.Begin(Config{Stdout: in})
				_ = in.Close()
				line, err := bufio.NewReader(out).ReadString('\n')
				if err != nil {
					s.Fatalf("no first line: %q, %v", line, err)
				}
				s.Saw("the start line")
				s.Step("the reader of the pipe leaves")
				_ = out.Close()
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Take("GET"); err != nil {
					s.Saw("nothing")
				} else {
					s.Saw("%s", scenario.InWords(resp, nil))
				}
				a.Close()
				s.Step("is the server still there, after its log line?")
				gone := s.UntilAfter(time.Second/2, server.Exited)
				if gone {
					s.Saw("no: %s", server.Ended())
				} else {
					s.Saw("yes")
				}
				s.Assert(!gone, "the server is gone: %s", server.Ended())
				b := s.Connect("B")
				b.Send("GET /plain.txt", plainGet)
				resp, err := b.Answer()
				s.Assert(err == nil && resp.Status == 200, "the next client gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "log-stops-the-server", Stage: 1,
			Bug:      "a warning is written to stderr where the server accepts",
			Question: "stderr is a pipe that nobody reads, and it is full. The server runs out of descriptors, warns about it on stderr, and tries again. Then there are descriptors again, and C waits to be accepted. What does C get?",
			Choices:  []string{"its page", "nothing, ever: the server waits for its warning to be read", "its page, but the warning is lost"},
			Answer:   1, Assertion: "accepts-though-nobody-reads-stderr",
			Usually: "that whoever reads the log decides whether clients are served: hand lines to a bounded queue, and let one goroutine write them",
			Where: []Place{
				{Dir: "common/cli", Func: "Config.Warn", Has: "complain("},
				{Dir: "common/accesslog", Func: "Output.Write"},
				{Dir: "common/accesslog", Func: "Output.write"},
			},
			Flags:    []string{"--max-conns", "1000", "--idle-timeout", "1m"},
			NoServer: true,
			Run: func(s *S) {
				s.Step("the server is started with a pipe for its stderr, which is full")
				in, out, err := kernel.FullPipe()
				if err != nil {
					s.Fatalf("a full pipe: %v", err)
				}
				s.OnEnd(func() { _, _ = in.Close(), out.Close() })
				server := s.Begin(Config{Stderr: in})
				s.Saw("the start line")
				last := wire.Request("GET", "/healthz", "", "Connection: close")
				a := s.Connect("A")
				a.Send("GET /healthz", last)
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered: %s", scenario.InWords(resp, err))
				}
				// Its first line in the log makes a Go program read the time zone's file.
				server.Stdout.Await(process.Patience, func(out string) bool { return strings.Contains(out, "/healthz") })
				s.Until(func() bool { return server.Connections() <= 0 })
				s.Step("the server may open no more descriptors (prlimit)")
				before, err := server.Limit(0)
				if err != nil {
					s.Fatalf("%v", err)
				}
				// An accept(2) that is waiting has taken its descriptor before: it is for B.
				b := s.Connect("B")
				b.Send("GET /healthz", last)
				c := s.Connect("C")
				c.Send("GET /healthz", last)
				s.Step("the server finds that it cannot accept C")
				s.UntilAfter(time.Second/4, func() bool { return false }) // until it sleeps
				if end, err := kernel.ServerEnd(c.Conn); err != nil || end.Inode != 0 {
					s.Fatalf("C is accepted, though there are no descriptors: %v", err)
				}
				s.Saw("C waits in the backlog")
				s.Step("the server may open descriptors again")
				if err := unix.Prlimit(server.PID(), unix.RLIMIT_NOFILE, &before, nil); err != nil {
					s.Fatalf("prlimit: %v", err)
				}
				resp, err := c.AtLeast(time.Second).Answer()
				s.Assert(err == nil && resp.Status == 200, "when there are descriptors again, who has waited gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "exit-on-error", Stage: 1,
			Bug:      "an error of one connection ends the server",
			Question: "A starts a download and resets its connection. Then B comes. What does B see?",
			Choices:  []string{"its page", "a connection that is accepted and then says nothing", "connection refused"},
			Answer:   2, Assertion: "next-client-is-let-in",
			Usually: "that errors travel too far: what goes wrong with one client ends that connection, and nothing else",
			Where: []Place{
				{Dir: "STAGE", Func: "handle", Has: "serve(c)"},
				{Dir: "common/sock", Func: "ClassifyAcceptError"},
			},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /big.bin, and does not read", wire.Request("GET", "/big.bin", ""))
				s.Stalled(a)
				a.Reset()
				s.Until(func() bool { return s.Server.Connections() <= 0 || s.Server.Exited() })
				b := s.Connect("B")
				s.Assert(b.Conn != nil, "one client reset its connection, and the next one is refused")
				b.Send("GET /plain.txt", plainGet)
				resp, err := b.Answer()
				s.Assert(err == nil && resp.Status == 200, "the next client gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "no-timeout", Stage: 1,
			Bug:      "a read has no time-out",
			Question: "A connects and says nothing. B connects and asks for a page. The server's idle time-out is 0.3 s, but its reads know nothing of it. What does B get?",
			Choices:  []string{"its page, at once", "its page, after 0.3 s", "nothing, for as long as A is there"},
			Answer:   2, Assertion: "served-after-the-idle-timeout",
			Usually: "that a blocking call waits for a stranger: every wait for a client needs an end, and a raw descriptor has no deadlines of its own",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.await", Has: "sock.Poll("},
				{Dir: "common/sock", Func: "Poll"},
			},
			Flags: []string{"--idle-timeout", "300ms"},
			Run: func(s *S) {
				a := s.Connect("A")
				b := s.Connect("B")
				b.Send("GET /plain.txt, while A says nothing", plainGet)
				resp, err := b.AtLeast(time.Second).Answer()
				s.Assert(err == nil && resp.Status == 200, "while a client says nothing, the next one gets: %s", scenario.InWords(resp, err))
				a.AtLeast(time.Second)
				err = a.End()
				s.Assert(err == nil, "the silent client is not closed: %v", err)
			},
		},
		{
			ID: "nagle", Stage: 1,
			Bug:      "head and file leave in two segments, and Nagle's algorithm is on",
			Question: "The head is sent with one call and the file with the next, without TCP_NODELAY. How long does a client wait for each of 20 answers, on this machine?",
			Choices:  []string{"less than a millisecond", "some 40 ms", "a second"},
			Answer:   1, Assertion: "head-and-file-in-one-segment",
			Usually: "that a small segment waits for the acknowledgement of the one before (Nagle), and the client's kernel delays that by 40 ms: MSG_MORE and TCP_NODELAY are the two halves of the fix",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.send", Has: "ex.part < len(parts)"},
				{Dir: "common/sock", Func: "Conn.Send", Has: "MSG_MORE"},
				{Dir: "STAGE", Func: "listen", Has: "l.NoDelay"},
			},
			Run: func(s *S) {
				const n = 20
				a := s.Connect("A")
				client := a.Client()
				s.Step("A asks %d times for 20,000 bytes of big.bin, and counts segments", n)
				begin := time.Now()
				for range n {
					a.Put(wire.Request("GET", "/big.bin", "", "Range: bytes=0-19999"))
					if resp, err := a.Take("GET"); err != nil || resp.Status != 206 || len(resp.Body) != 20_000 {
						s.Fatalf("not answered with 206: %s", scenario.InWords(resp, err))
					}
				}
				each := time.Since(begin).Seconds() / n * 1000
				segments := client.Segments()
				s.Saw("%d segments for %d answers; %.1f ms for each", segments, n, each)
				s.Assert(segments <= n, "%d answers took %d segments", n, segments)
			},
		},
		{
			ID: "no-keepalive-close", Stage: 1,
			Bug:      "Connection: close and HTTP/1.0 are not honoured",
			Question: "A says Connection: close with its request, gets the answer, and waits for the end of the connection. The server keeps connections, always. What does A see?",
			Choices:  []string{"the end, at once", "nothing, until the idle time-out", "a second answer"},
			Answer:   1, Assertion: "closed-or-kept-as-asked",
			Usually: "that the end of the connection is forgotten to be part of the answer: Connection: close asks for it, HTTP/1.0 has it by default",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.queue", Has: "c.closing ="},
				{Dir: "common/h1", Func: "Parser.connectionField"},
				{Dir: "common/h1", Func: "Parser.endHead", Has: "keep10"},
			},
			Run: func(s *S) {
				for _, way := range []struct{ name, what, data string }{
					{"A", "GET /plain.txt with Connection: close", wire.Request("GET", "/plain.txt", "", "Connection: close")},
					{"B", "GET /plain.txt in HTTP/1.0", "GET /plain.txt HTTP/1.0\r\n\r\n"},
				} {
					p := s.Connect(way.name)
					p.Send(way.what, way.data)
					if resp, err := p.Answer(); err != nil || resp.Status != 200 {
						s.Fatalf("not answered: %s", scenario.InWords(resp, err))
					}
					err := p.End()
					s.Assert(err == nil, "behind the answer to %s the connection does not end: %v", way.what, err)
				}
				c := s.Connect("C")
				for _, what := range []string{"GET /plain.txt in HTTP/1.0 with Connection: keep-alive", "the same again"} {
					c.Send(what, "GET /plain.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
					resp, err := c.Answer()
					s.Assert(err == nil && resp.Has("Connection", "keep-alive"), "HTTP/1.0 with keep-alive: %s", scenario.InWords(resp, err))
				}
			},
		},
		{
			ID: "reset-eats-response", Stage: 1,
			Bug:      "the server closes while bytes that it has not read are arriving",
			Question: "A pipelines 20 requests of 1 KB each and an upload of 2 MB, which is too large, and reads nothing before it has sent 100 KB of that. It has room for some 4 KB. The server sends 20 answers and a 413, of which most must wait in its own kernel, and closes, though it has not read all that came. What does A get?",
			Choices:  []string{"20 answers and the 413", "20 answers, but not the 413", "a few answers, then a reset"},
			Answer:   2, Assertion: "the-413-arrives",
			Usually: "that close(2) with unread bytes resets the connection, and what was sent but not yet taken is lost: shut down the sending side, read on for a while, then close",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.leave"},
				{Dir: "common/h1", Func: "Conn.discard"},
				{Dir: "common/sock", Func: "Conn.ShutdownWrite"},
			},
			Run: func(s *S) {
				a := s.ConnectWith("A", DialOptions{RecvBuf: 4096}) // a slow client's window
				small := wire.Request("GET", "/k.txt", "")
				upload := "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n" + strings.Repeat("x", 100_000)
				a.SendLater("GET /k.txt 20 times, then 100 KB of a POST /echo with 2 MB", strings.Repeat(small, 20)+upload)
				s.Step("A does not read before the server has ended its side")
				s.Until(func() bool {
					end, err := kernel.ServerEnd(a.Conn)
					return err != nil || end.State != unix.BPF_TCP_ESTABLISHED
				})
				n := a.Answers(21, func(i int, resp *Response) error {
					if want := map[bool]int{false: 200, true: 413}[i == 20]; resp.Status != want {
						return fmt.Errorf("answer %d is %d, want %d", i+1, resp.Status, want)
					}
					return nil
				})
				s.Assert(n == 21, "of 20 answers and a 413 the client gets %d", n)
				err := a.End()
				s.Assert(err == nil, "the 413 does not end in order: %v", err)
			},
		},
		{
			ID: "close-eats-response", Stage: 1,
			Bug:      "the server closes while its last response is on its way, because nothing is unread",
			Question: "A asks for 1 MB with Connection: close, and has room for some 4 KB. The kernel takes all of it, the server has read everything that A sent, and closes. Then A sends two bytes more, CR LF, and reads. What does A get?",
			Choices:  []string{"the whole response", "a part of it, then a reset", "nothing"},
			Answer:   1, Assertion: "the-last-response-arrives",
			Usually: "that a closed socket answers whatever still comes with a reset, which drops what the client has not acknowledged: shut down the sending side, and wait until everything is acknowledged",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.leave", Has: "onePiece"},
				{Dir: "common/h1", Func: "Conn.expectProgress"},
				{Dir: "common/sock", Func: "Conn.Unacked"},
			},
			Run: func(s *S) {
				const size = 1_000_000
				a := s.ConnectWith("A", DialOptions{RecvBuf: 4096})
				a.Send("GET /big.bin, the first 1,000,000 bytes, with Connection: close", wire.Request("GET", "/big.bin", "", "Range: bytes=0-999999", "Connection: close"))
				s.Step("A does not read before the server has ended its side")
				s.Until(func() bool {
					end, err := kernel.ServerEnd(a.Conn)
					return err != nil || end.State != unix.BPF_TCP_ESTABLISHED
				})
				a.Send("CR LF", "\r\n")
				resp, err := a.Answer()
				s.Assert(err == nil && resp.Status == 206 && len(resp.Body) == size, "a client that sends two bytes more before it reads gets: %s", scenario.InWords(resp, err))
				err = a.End()
				s.Assert(err == nil, "the response does not end in order: %v", err)
			},
		},
		{
			ID: "extra-read-blocks", Stage: 1,
			Bug:      "behind a whole request the server reads once more, to be sure",
			Question: "The server reads until there is nothing more to read. A sends one request, keeps the connection open and waits. What does A get?",
			Choices:  []string{"the answer", "half of the answer", "nothing: both wait for each other"},
			Answer:   2, Assertion: "answered-without-more-bytes",
			Usually: "that the end of a request is sought in the stream: a persistent connection has no end, so only the syntax tells when to stop reading",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.parse", Has: "if done"},
				{Dir: "common/h1", Func: "Conn.receive"},
			},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt, and then that it will send no more", plainGet)
				a.EndSending()
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered with 200: %s", scenario.InWords(resp, err))
				}
				b := s.Connect("B")
				b.Send("GET /plain.txt, and keeps the connection", plainGet)
				resp, err := b.Answer()
				s.Assert(err == nil && resp.Status == 200, "a client that keeps its connection gets: %s", scenario.InWords(resp, err))
			},
		},
	}
}
