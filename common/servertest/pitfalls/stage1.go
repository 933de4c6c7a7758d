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

// plainGet requests a small file.
var plainGet = wire.Request("GET", "/plain.txt", "")

// stage1Scenarios returns the scenarios about buffered I/O. A stream has no message boundaries, and every
// call may do less than it was asked to do.
func stage1Scenarios() []Scenario {
	return []Scenario{
		{
			ID: "short-read", Stage: 1,
			Bug:      "the server takes the result of one read(2) for the whole request",
			Question: "A request arrives in two TCP segments, the second a moment after the first. What does the client get?",
			Choices:  []string{"its page: TCP puts the pieces together", "400, before the second segment has left", "nothing: the server waits for ever"},
			Answer:   1, Assertion: "answered-whatever-the-split",
			Usually: "that the code expects one message from each read: read(2) returns whatever has arrived, and only the syntax tells where a request ends",
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
					{"the same request, cut after byte 20", func(what, data string) { a.SendPieces(what, data, 20) }},
					{"the same request, with the last line end in a segment of its own", func(what, data string) { a.SendPieces(what, data, len(data)-2) }},
					{"the same request, byte by byte", func(what, data string) { a.Drip(what, data) }},
				} {
					way.send(way.what, plainGet)
					resp, _ := a.Answer()
					s.Assert(resp != nil && resp.Status == 200, "%s: not answered with 200", way.what)
				}
			},
		},
		{
			ID: "leftover", Stage: 1,
			Bug:      "the server drops the bytes that follow the first request",
			Question: "A client pipelines 100 requests: it sends them all at once and reads afterwards. How many responses does it get?",
			Choices:  []string{"100", "1", "some number in between, different in each run"},
			Answer:   1, Assertion: "all-100-answered",
			Usually: "that the server empties the buffer for each request: one read may also return the beginning of the next request",
			Where: []Place{
				{Dir: "common/h1", Func: "exchange.nextRequest", Has: "ex.in.Discard()"},
				{Dir: "common/stream", Func: "Buffer.Discard"},
			},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("POST /echo with the body 0", wire.Request("POST", "/echo", "0"))
				_, err := a.Answer()
				if err != nil {
					s.Fatalf("even a single request is not answered: %v", err)
				}
				var all strings.Builder
				for i := range 100 {
					all.WriteString(wire.Request("POST", "/echo", fmt.Sprint(i)))
				}
				a.Send("100 such requests at once, with the bodies 0 to 99", all.String())
				n := a.Answers(100, func(i int, resp *Response) error {
					if string(resp.Body) != fmt.Sprint(i) {
						return fmt.Errorf("the response to another request: %q", resp.Body)
					}
					return nil
				})
				s.Assert(n == 100, "the server answers %d of 100 pipelined requests", n)
			},
		},
		{
			ID: "unbuffered", Stage: 1,
			Bug:      "the server reads the request head one byte at a time",
			Question: "The server reads a request head one byte at a time, so that it never reads into the next request. A sends 10 requests of about 700 bytes each. How many times does the server call recv(2)?",
			Choices:  []string{"10 times: the kernel collects the bytes", "about 70 times", "more than 7,000 times"},
			Answer:   2, Assertion: "few-reads",
			Usually: "that the code avoids reading too much: with a buffer that lives as long as the connection, it may read whatever has arrived",
			Where: []Place{
				{Dir: "common/stream", Func: "Buffer.Fill", Has: "r.Read("},
				{Dir: "common/h1", Func: "Conn.receive", Has: "ex.in.Fill"},
			},
			Strace: []string{"recvfrom", "recvmsg", "read", "readv"},
			Run: func(s *S) {
				a := s.Connect("A")
				head := wire.Request("GET", "/plain.txt", "", "Cookie: "+strings.Repeat("0123456789", 65))
				before := s.Calls(s.Scenario.Strace...)
				s.Step("A sends 10 requests of %d bytes each, and reads the response to each", len(head))
				for range 10 {
					a.Put(head)
					if resp, err := a.Take("GET"); err != nil || resp.Status != 200 {
						s.Fatalf("not answered with 200: %s", scenario.InWords(resp, err))
					}
				}
				s.Saw("10 responses")
				s.Step("how many times has the server called recv(2) or read(2)?")
				n := s.Calls(s.Scenario.Strace...) - before
				s.Saw("%d times", n)
				s.Assert(n <= 40, "the server calls recv(2) or read(2) %d times for 10 requests", n)
			},
		},
		{
			ID: "short-write", Stage: 1,
			Bug:      "the server ignores how many bytes send(2) took",
			Question: "A downloads 24 MiB and reads slowly, so the server waits in send(2). A signal or a time-out makes the call return early: the kernel took only a part of the bytes, and the server does not check how many. What does A get?",
			Choices:  []string{"all of the file: the kernel sends the rest by itself", "less than Content-Length says, and then nothing", "an error, at once"},
			Answer:   1, Assertion: "every-byte-arrives",
			Usually: "that the code treats send, write or sendfile as all or nothing: each returns how many bytes the kernel took, and the caller has to send the rest",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.send", Has: "p.n -= "},
				{Dir: "common/h1", Func: "Conn.Flush"},
			},
			Run: func(s *S) {
				big := s.Root.Big()
				a := s.Connect("A")
				a.Send("GET /big.bin", wire.Request("GET", "/big.bin", ""))
				at, early := 0, 0
				s.Step("A reads 200,000 bytes at a time; three times a signal interrupts the server's send")
				resp, err := a.Client().Stream(func(_ *Response, in io.Reader) error {
					for buf := make([]byte, 200_000); ; {
						if early < 3 && s.Interrupt() {
							early++
						}
						n, err := io.ReadFull(in, buf)
						for i, b := range buf[:n] {
							if big[at+i] != b {
								return fmt.Errorf("byte %d differs from the file", at+i)
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
					s.Fatalf("no response: %s", scenario.InWords(nil, err))
				}
				if err != nil {
					s.Saw("a part of the %d bytes, then %s", len(big), scenario.InWords(nil, errors.Unwrap(err)))
				} else {
					s.Saw("%d bytes, as in the file", at)
				}
				s.Assert(err == nil && at == len(big), "A gets %d of %d bytes", at, len(big))
			},
		},
		{
			ID: "pointer", Stage: 1,
			Bug:      "the parser keeps a slice of a buffer whose bytes move later",
			Question: "The parser keeps a slice of the buffer as the value of the Cookie field. Then the buffer is full, and the server moves the bytes that it still needs to the front. When the request head is complete, the handler reads the cookie. What does the slice contain?",
			Choices:  []string{"the cookie: Go keeps the memory of a slice alive", "nothing: the slice is nil now", "bytes of another part of the request", "the program has crashed"},
			Answer:   2, Assertion: "cookie-as-sent",
			Usually: "that a pointer into a buffer is used after the next read: store positions, and get the bytes from the buffer when they are needed",
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
				assertLoggedIn := func(otherwise string) {
					resp, err := a.Answer()
					s.Assert(err == nil && resp.Status == 200 && bytes.Contains(resp.Body, []byte(`"ann"`)), "%s", otherwise)
				}
				a.Send("GET /api/login with its cookie", wire.Request("GET", "/api/login", "", "Cookie: "+cookie))
				assertLoggedIn("the server does not recognise the cookie in a small request")
				a.Send("GET /healthz with 8,000 bytes, then GET /api/login with its cookie and another 12,000 bytes",
					wire.Request("GET", "/healthz", "", "X-Fill: "+strings.Repeat("x", 8000))+
						wire.Request("GET", "/api/login", "", "Cookie: "+cookie, "X-Fill: "+strings.Repeat("y", 12000)))
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("GET /healthz: %s", scenario.InWords(resp, err))
				}
				assertLoggedIn("the server does not recognise the cookie after it has moved the bytes of its buffer")
			},
		},
		{
			ID: "no-truncate", Stage: 1,
			Bug:      "the buffer keeps the bytes of requests that have been answered",
			Question: "A sends 20,000 requests of 1 KB on one connection without a pause, and gets 20,000 responses. How has the server changed?",
			Choices:  []string{"it has not: the garbage collector frees the old bytes", "it has grown by 20 MB or more", "it has crashed"},
			Answer:   1, Assertion: "memory-flat",
			Usually: "that the server only appends to its buffer: it also has to drop the bytes at the front that it no longer needs",
			Where: []Place{
				{Dir: "common/h1", Func: "exchange.nextRequest", Has: "ex.in.Discard()"},
				{Dir: "common/stream", Func: "Buffer.Fill"},
			},
			Flags: []string{"-s"},
			Run: func(s *S) {
				const n, some = 20_000, 500
				a := s.Connect("A")
				// 1,021 bytes is a prime number: the end of a request seldom falls on the end of a read.
				one := wire.Request("GET", "/healthz", "")
				one = wire.Request("GET", "/healthz", "", "X-Fill: "+strings.Repeat("x", 1021-len(one)-len("X-Fill: \r\n")))
				a.Send(fmt.Sprintf("%d requests, and reads the responses", some), strings.Repeat(one, some))
				for i := range some {
					if _, err := a.Take("GET"); err != nil {
						s.Fatalf("response %d: %s", i, scenario.InWords(nil, err))
					}
				}
				s.Saw("%d responses", some)
				before := s.Server.Memory("VmHWM")
				sent := a.SendLater(fmt.Sprintf("%d more without a pause", n), strings.Repeat(one, n))
				for i := range n {
					if _, err := a.Take("GET"); err != nil {
						s.Fatalf("response %d: %s", i, scenario.InWords(nil, err))
					}
				}
				<-sent
				s.Saw("%d responses", n)
				s.Step("by how much has the server's memory grown (VmHWM)?")
				grown := s.Server.Memory("VmHWM") - before
				if grown < 8<<20 {
					s.Saw("by less than 8 MiB")
				} else {
					s.Saw("by 8 MiB or more")
				}
				s.Assert(grown < 8<<20, "during %d requests on one connection the server grows by %d MiB", n, grown>>20)
			},
		},
		{
			ID: "extra-bytes", Stage: 1,
			Bug:      "the server sends CR LF after the body, and Content-Length does not count it",
			Question: "The server sends CR LF after each body, and Content-Length does not count these two bytes. Which client notices?",
			Choices:  []string{"curl: it complains at once", "none, ever", "a strict client, at the second response on the connection"},
			Answer:   2, Assertion: "next-answer-begins-with-HTTP",
			Usually: "that the server sends a few bytes, such as a line end after the body, that Content-Length does not count",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.queue"},
				{Dir: "common/h1", Func: "Response.appendHead", Has: "Content-Length"},
			},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if _, err := a.Answer(); err != nil {
					s.Fatalf("no response: %v", err)
				}
				a.Send("the same request again", plainGet)
				_, err := a.Answer()
				s.Assert(err == nil, "A cannot read the second response on the connection: %v", err)
				a.Send("the same request a third time", plainGet)
				_, err = a.Answer()
				s.Assert(err == nil, "A cannot read the third response on the connection: %v", err)
				s.Step("A looks for bytes after the last response")
				time.Sleep(20 * time.Millisecond)
				if a.Silent() {
					s.Saw("none")
				} else {
					s.Saw("some")
				}
				s.Assert(a.Silent(), "bytes follow the last body")
			},
		},
		{
			ID: "first-eof", Stage: 1,
			Bug:      "the server waits for more bytes after read(2) has returned 0",
			Question: "A connects and closes without sending a byte. Then B asks for a page. What does B get?",
			Choices:  []string{"its page", "an empty response", "nothing: the server is still busy with A's closed connection"},
			Answer:   2, Assertion: "next-client-served",
			Usually: "that the code takes a return value of 0 for \"nothing yet\": it means the end of the stream, which poll(2) then reports for ever",
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
				s.Assert(resp != nil && resp.Status == 200, "after a client that connected and closed, the next client gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "epipe-retry", Stage: 1,
			Bug:      "the server retries a write to a client that has left",
			Question: "A starts a download and leaves in the middle of it. The server's send fails with EPIPE, and the server tries again. What happens then?",
			Choices:  []string{"the kernel's time-out ends the retries", "the server retries for ever, and keeps a CPU busy", "SIGPIPE kills the server"},
			Answer:   1, Assertion: "descriptor-freed",
			Usually: "that the code treats all errors alike: a call may be retried after EINTR or EAGAIN, but never after EPIPE or ECONNRESET",
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
				s.Assert(freed, "the client has left, but the server still holds its connection")
				b := s.Connect("B")
				b.Send("GET /plain.txt", plainGet)
				if resp, err := b.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("the next client gets: %s", scenario.InWords(resp, err))
				}
			},
		},
		{
			ID: "sigpipe-stdout", Stage: 1,
			Bug:      "the server leaves SIGPIPE as Go sets it: harmless on a socket, deadly on stdout",
			Question: "The server is started with `server | head -1`. head prints the first line and exits. What happens at the next request?",
			Choices:  []string{"the client gets its page, and the log line is lost", "the client may still get its page, but then the server ends", "the server waits for ever in its write to stdout"},
			Answer:   1, Assertion: "serves-without-a-reader-of-its-log",
			Usually: "that a write to a pipe without a reader kills the process: Go turns SIGPIPE into an error on every descriptor except 1 and 2",
			Where: []Place{
				{Dir: "common/cli", Func: "Parse", Has: "SIGPIPE)"},
				{Dir: "common/accesslog", Func: "Output.write", Has: "EPIPE"},
			},
			NoServer: true,
			Run: func(s *S) {
				s.Step("the server starts with a pipe as its stdout, and the test reads the first line")
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
				s.Step("the test closes the reading end of the pipe")
				_ = out.Close()
				a := s.Connect("A")
				a.Send("GET /plain.txt", plainGet)
				if resp, err := a.Take("GET"); err != nil {
					s.Saw("nothing")
				} else {
					s.Saw("%s", scenario.InWords(resp, nil))
				}
				a.Close()
				s.Step("is the server still running after its next log line?")
				gone := s.UntilAfter(time.Second/2, server.Exited)
				if gone {
					s.Saw("no: %s", server.Ended())
				} else {
					s.Saw("yes")
				}
				s.Assert(!gone, "the server has ended: %s", server.Ended())
				b := s.Connect("B")
				b.Send("GET /plain.txt", plainGet)
				resp, err := b.Answer()
				s.Assert(err == nil && resp.Status == 200, "the next client gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "log-stops-the-server", Stage: 1,
			Bug:      "the thread that accepts connections writes warnings to stderr itself",
			Question: "stderr is a full pipe that nobody reads. The server runs out of descriptors and writes a warning to stderr. Later it can open descriptors again, and C is waiting to be accepted. What does C get?",
			Choices:  []string{"its page", "nothing: the server waits until somebody reads its warning", "its page, but the warning is lost"},
			Answer:   1, Assertion: "accepts-though-nobody-reads-stderr",
			Usually: "that a log without a reader stops the server: put the lines into a bounded queue, and let one goroutine write them",
			Where: []Place{
				{Dir: "common/cli", Func: "Config.Warn", Has: "complain("},
				{Dir: "common/accesslog", Func: "Output.Write"},
				{Dir: "common/accesslog", Func: "Output.write"},
			},
			Flags:    []string{"--max-conns", "1000", "--idle-timeout", "1m"},
			NoServer: true,
			Run: func(s *S) {
				s.Step("the server starts with a full pipe as its stderr")
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
				// The first log line makes Go open the time zone file. Wait until that descriptor is free again.
				server.Stdout.Await(process.Patience, func(out string) bool { return strings.Contains(out, "/healthz") })
				s.Until(func() bool { return server.Connections() <= 0 })
				s.Step("the server can open no more descriptors (prlimit)")
				before, err := server.Limit(0)
				if err != nil {
					s.Fatalf("%v", err)
				}
				// If accept(2) is already waiting, it has reserved a descriptor, which B gets.
				b := s.Connect("B")
				b.Send("GET /healthz", last)
				c := s.Connect("C")
				c.Send("GET /healthz", last)
				s.Step("the server tries to accept C")
				s.UntilAfter(time.Second/4, func() bool { return false }) // until it sleeps
				if end, err := kernel.ServerEnd(c.Conn); err != nil || end.Inode != 0 {
					s.Fatalf("the server accepts C, though it has no descriptors left: %v", err)
				}
				s.Saw("C waits in the backlog")
				s.Step("the server can open descriptors again (prlimit)")
				if err := unix.Prlimit(server.PID(), unix.RLIMIT_NOFILE, &before, nil); err != nil {
					s.Fatalf("prlimit: %v", err)
				}
				resp, err := c.AtLeast(time.Second).Answer()
				s.Assert(err == nil && resp.Status == 200, "after the shortage of descriptors, the client in the backlog gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "exit-on-error", Stage: 1,
			Bug:      "an error on one connection ends the server",
			Question: "A starts a download and resets its connection. Then B connects. What does B see?",
			Choices:  []string{"its page", "a connection on which nothing arrives", "connection refused"},
			Answer:   2, Assertion: "next-client-is-let-in",
			Usually: "that the code passes an error too far up: an error on one connection should end only that connection",
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
				s.Assert(b.Conn != nil, "after a client that reset its connection, the next client is refused")
				b.Send("GET /plain.txt", plainGet)
				resp, err := b.Answer()
				s.Assert(err == nil && resp.Status == 200, "the next client gets: %s", scenario.InWords(resp, err))
			},
		},
		{
			ID: "no-timeout", Stage: 1,
			Bug:      "a read has no time-out",
			Question: "A connects and sends nothing. B connects and asks for a page. The server's idle time-out is 0.3 s, but its reads ignore it. What does B get?",
			Choices:  []string{"its page, at once", "its page, after 0.3 s", "nothing, as long as A stays connected"},
			Answer:   2, Assertion: "served-after-the-idle-timeout",
			Usually: "that a blocking call waits for a client without a limit: every such wait needs a time-out, and a raw descriptor has no deadlines",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.await", Has: "sock.Poll("},
				{Dir: "common/sock", Func: "Poll"},
			},
			Flags: []string{"--idle-timeout", "300ms"},
			Run: func(s *S) {
				a := s.Connect("A")
				b := s.Connect("B")
				b.Send("GET /plain.txt, while A is silent", plainGet)
				resp, err := b.AtLeast(time.Second).Answer()
				s.Assert(err == nil && resp.Status == 200, "while one client is silent, the next client gets: %s", scenario.InWords(resp, err))
				a.AtLeast(time.Second)
				err = a.End()
				s.Assert(err == nil, "the server does not close the silent client's connection: %v", err)
			},
		},
		{
			ID: "nagle", Stage: 1,
			Bug:      "head and file leave in two segments while Nagle's algorithm is on",
			Question: "The server sends the response head with one call and the file with the next, without TCP_NODELAY. How long does a client on the same machine wait for each of 20 responses?",
			Choices:  []string{"less than a millisecond", "about 40 ms", "a second"},
			Answer:   1, Assertion: "head-and-file-in-one-segment",
			Usually: "that a small segment waits until the previous one is acknowledged (Nagle's algorithm), which the client's kernel delays by up to 40 ms: set TCP_NODELAY, and join head and file with MSG_MORE",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.send", Has: "ex.part < len(parts)"},
				{Dir: "common/sock", Func: "Conn.Send", Has: "MSG_MORE"},
				{Dir: "STAGE", Func: "listen", Has: "l.NoDelay"},
			},
			Run: func(s *S) {
				const n = 20
				a := s.Connect("A")
				client := a.Client()
				s.Step("A asks %d times for 20,000 bytes of big.bin, and counts the segments", n)
				begin := time.Now()
				for range n {
					a.Put(wire.Request("GET", "/big.bin", "", "Range: bytes=0-19999"))
					if resp, err := a.Take("GET"); err != nil || resp.Status != 206 || len(resp.Body) != 20_000 {
						s.Fatalf("not answered with 206: %s", scenario.InWords(resp, err))
					}
				}
				each := time.Since(begin) / n
				segments := client.Segments()
				took := fmt.Sprintf("%d ms", each.Milliseconds())
				switch {
				case each < 10*time.Millisecond:
					took = "less than 10 ms"
				case each > 30*time.Millisecond && each < 60*time.Millisecond:
					took = "about 40 ms" // a little more on a busy machine, less if the first ones are quick
				}
				s.Saw("%d segments for %d responses, %s for each response", segments, n, took)
				s.Assert(segments <= n, "the server sends %d responses in %d segments", n, segments)
			},
		},
		{
			ID: "no-keepalive-close", Stage: 1,
			Bug:      "the server keeps a connection open although the client expects it to close",
			Question: "A sends Connection: close with its request, reads the response, and waits for the end of the connection. The server keeps every connection open. What does A see?",
			Choices:  []string{"the end, at once", "nothing, until the idle time-out", "a second response"},
			Answer:   1, Assertion: "closed-or-kept-as-asked",
			Usually: "that the server ignores what the client expects after the response: Connection: close asks for the end of the connection, and HTTP/1.0 closes by default",
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
					s.Assert(err == nil, "after the response to %s the connection does not end: %v", way.what, err)
				}
				c := s.Connect("C")
				for _, what := range []string{"GET /plain.txt in HTTP/1.0 with Connection: keep-alive", "the same request again"} {
					c.Send(what, "GET /plain.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
					resp, err := c.Answer()
					s.Assert(err == nil && resp.Has("Connection", "keep-alive"), "HTTP/1.0 with keep-alive gets: %s", scenario.InWords(resp, err))
				}
			},
		},
		{
			ID: "reset-eats-response", Stage: 1,
			Bug:      "the server closes while bytes that it has not read are still arriving",
			Question: "A pipelines 20 requests for a file of 1 KB, then an upload of 2 MB, which is too large. A sends only 100 KB of the upload, and does not read yet; its receive buffer holds about 4 KB. The server sends 20 responses and a 413, most of which wait in the server's kernel. Then it closes without reading the rest of the upload. What does A get?",
			Choices:  []string{"20 responses and the 413", "20 responses, but not the 413", "a few responses, then a reset"},
			Answer:   2, Assertion: "the-413-arrives",
			Usually: "that close(2) with unread bytes resets the connection, which loses the responses that the client has not received yet: shut down the sending side, read for a while, then close",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.leave"},
				{Dir: "common/h1", Func: "Conn.discard"},
				{Dir: "common/sock", Func: "Conn.ShutdownWrite"},
			},
			Run: func(s *S) {
				a := s.ConnectWith("A", DialOptions{RecvBuf: 4096}) // most of the responses then wait on the server's side
				small := wire.Request("GET", "/k.txt", "")
				upload := "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n" + strings.Repeat("x", 100_000)
				a.SendLater("GET /k.txt 20 times, then POST /echo and 100 KB of its body of 2 MB", strings.Repeat(small, 20)+upload)
				awaitServerEnd(s, a)
				n := a.Answers(21, func(i int, resp *Response) error {
					if want := map[bool]int{false: 200, true: 413}[i == 20]; resp.Status != want {
						return fmt.Errorf("status %d, want %d", resp.Status, want)
					}
					return nil
				})
				s.Assert(n == 21, "A gets %d of the 21 responses", n)
				err := a.End()
				s.Assert(err == nil, "the connection does not end properly after the 413: %v", err)
			},
		},
		{
			ID: "close-eats-response", Stage: 1,
			Bug:      "the server closes before the client has acknowledged the last response",
			Question: "A asks for 1 MB with Connection: close; its receive buffer holds about 4 KB. The server's kernel takes the whole response. The server has read everything that A sent, and closes. Then A sends two more bytes, CR LF, and reads. What does A get?",
			Choices:  []string{"the whole response", "a part of it, then a reset", "nothing"},
			Answer:   1, Assertion: "the-last-response-arrives",
			Usually: "that the kernel resets a closed connection when more bytes arrive, and drops what the client has not acknowledged: shut down the sending side, and close only when everything is acknowledged",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.leave", Has: "onePiece"},
				{Dir: "common/h1", Func: "Conn.expectProgress"},
				{Dir: "common/sock", Func: "Conn.Unacked"},
			},
			Run: func(s *S) {
				const size = 1_000_000
				a := s.ConnectWith("A", DialOptions{RecvBuf: 4096})
				a.Send("GET /big.bin for the first 1,000,000 bytes, with Connection: close", wire.Request("GET", "/big.bin", "", "Range: bytes=0-999999", "Connection: close"))
				awaitServerEnd(s, a)
				a.Send("CR LF", "\r\n")
				resp, err := a.Answer()
				s.Assert(err == nil && resp.Status == 206 && len(resp.Body) == size, "a client that sends two more bytes before it reads gets: %s", scenario.InWords(resp, err))
				err = a.End()
				s.Assert(err == nil, "the connection does not end properly after the response: %v", err)
			},
		},
		{
			ID: "extra-read-blocks", Stage: 1,
			Bug:      "the server reads once more after it has the whole request",
			Question: "The server reads until there is nothing more to read. A sends one request, keeps the connection open and waits. What does A get?",
			Choices:  []string{"its page", "half of its page", "nothing: client and server wait for each other"},
			Answer:   2, Assertion: "answered-without-more-bytes",
			Usually: "that the server reads until the end of the stream: a persistent connection does not end after a request, so only the syntax tells when to stop reading",
			Where: []Place{
				{Dir: "common/h1", Func: "Conn.parse", Has: "if !done"},
				{Dir: "common/h1", Func: "Conn.receive"},
			},
			Run: func(s *S) {
				a := s.Connect("A")
				a.Send("GET /plain.txt, and shuts down its sending side", plainGet)
				a.EndSending()
				if resp, err := a.Answer(); err != nil || resp.Status != 200 {
					s.Fatalf("not answered with 200: %s", scenario.InWords(resp, err))
				}
				b := s.Connect("B")
				b.Send("GET /plain.txt, and keeps its sending side open", plainGet)
				resp, err := b.Answer()
				s.Assert(err == nil && resp.Status == 200, "a client that keeps its connection open gets: %s", scenario.InWords(resp, err))
			},
		},
		stalePool(),
	}
}

// awaitServerEnd waits until the server has ended its side of a connection, whether or not the FIN can arrive.
func awaitServerEnd(s *S, p *Peer) {
	s.Step("%s waits until the server has ended its side", p.Name)
	s.Until(func() bool {
		end, err := kernel.ServerEnd(p.Conn)
		return err != nil || end.State != unix.BPF_TCP_ESTABLISHED
	})
}
