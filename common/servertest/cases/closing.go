package cases

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
	"golang.org/x/sys/unix"
)

// unacked is the length in bytes of a response that fits into the kernel's send buffer. If the client
// does not read, most of it is still unacknowledged when the server has nothing more to send.
const unacked = 1_000_000

func closeCases() []Case {
	part := func(fields ...string) string {
		return wire.Request("GET", "/big.bin", "", append(fields, "Range: bytes=0-999999")...)
	}
	slow := func(t *T, s *Server) *Client { return t.DialTo(s, DialOptions{RecvBuf: 4096}) }
	// awaitSent waits until the kernel has all of the response and the server has shut down its
	// sending side.
	awaitSent := func(t *T, c *Client, what string) {
		t.Helper()
		t.Eventually(what, func() bool {
			end, err := kernel.ServerEnd(c.Conn)
			return err != nil || end.State != unix.BPF_TCP_ESTABLISHED && end.State != unix.BPF_TCP_CLOSE_WAIT
		})
	}
	whole := func(t *T, c *Client) {
		t.Helper()
		resp, err := c.Stream(func(_ *Response, in io.Reader) error {
			n, err := io.Copy(io.Discard, in)
			if n != unacked {
				t.Errorf("%d of %d bytes arrived: %v", n, unacked, err)
			}
			return err
		})
		if err != nil {
			t.Fatalf("reading the last response: %v", err)
		}
		if resp.Status != 206 {
			t.Errorf("answered %d, want 206", resp.Status)
		}
		c.WantEnd()
	}
	return []Case{
		{Name: "close-lingers", IDs: []string{"close-lingers"}, Run: func(t *T) {
			for how, send := range map[string]string{
				"Connection: close": part("Connection: close"),
				"HTTP/1.0":          strings.Replace(part(), "HTTP/1.1", "HTTP/1.0", 1),
				"half-close":        part(),
			} {
				for what, more := range map[string]func(c *Client){
					"nothing more":   func(*Client) {},
					"CR LF":          func(c *Client) { c.Send("\r\n") },
					"an urgent byte": func(c *Client) { c.Control(func(fd int) { _ = unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil) }) },
				} {
					if how == "half-close" && what != "nothing more" {
						continue
					}
					t.Sub(how+", then "+what, func(t *T) {
						c := slow(t, t.Server)
						c.Send(send)
						if how == "half-close" {
							c.CloseWrite()
						}
						awaitSent(t, c, "the server shuts down its sending side")
						more(c)
						whole(t, c)
						c.Close()
					})
				}
			}
			t.Sub("a small response, then an urgent byte", func(t *T) {
				// The urgent byte arrives before the server has read the requests, and a read stops in front
				// of it.
				c := slow(t, t.Server)
				c.Send(strings.Repeat(wire.Request("GET", "/k.txt", ""), 40) + wire.Request("GET", "/healthz", "", "Connection: close"))
				c.Control(func(fd int) { _ = unix.Sendto(fd, []byte("!"), unix.MSG_OOB, nil) })
				awaitSent(t, c, "the server shuts down its sending side")
				for range 40 {
					c.Want(200)
				}
				c.WantBody(200, "ok")
				c.WantEnd()
			})
		}},
		{Name: "close-lingers-idle", IDs: []string{"close-lingers", "timeout-idle-acked"}, Flags: []string{"--idle-timeout", longTimeout.String()}, Run: func(t *T) {
			c := slow(t, t.Server)
			c.Send(part())
			c.AwaitAnswer()
			<-time.After(2 * longTimeout) // longer than the idle time-out
			if end, err := kernel.ServerEnd(c.Conn); err != nil || end.State != unix.BPF_TCP_ESTABLISHED {
				t.Fatalf("the idle time-out closed the connection before the response was acknowledged")
			}
			resp := c.Read()
			start := time.Now()
			if resp.Status != 206 || len(resp.Body) != unacked {
				t.Errorf("answered %v, want 206 with %d bytes", resp, unacked)
			}
			c.WantKept()
			c.WantEnd()
			if took := time.Since(start); took < longTimeout || took > longTimeout+3*time.Second {
				t.Errorf("the connection was closed %v after the last response, want the idle time-out of %v", took, longTimeout)
			}
		}},
		{Name: "close-lingers-stop", IDs: []string{"close-lingers", "stop-finishes"}, NoServer: true, Run: func(t *T) {
			for _, connection := range []string{"keep-alive", "close"} {
				s := t.Begin(Config{})
				c := slow(t, s)
				c.Send(part("Connection: " + connection))
				c.AwaitAnswer()
				s.Signal(syscall.SIGTERM)
				awaitSent(t, c, "the server shuts down its sending side")
				c.Send("\r\n")
				whole(t, c)
				c.Close()
				if state, status, ok := s.Wait(process.StopPatience); !ok || status != 0 {
					t.Errorf("%s, want exit status 0", state)
				}
			}
		}},
		{Name: "close-bounded", IDs: []string{"close-bounded"}, Flags: []string{"--write-timeout", longTimeout.String()}, Alone: true, Run: func(t *T) {
			for how, end := range map[string]func(c *Client){
				"nothing more": func(*Client) {},
				"half-close":   func(c *Client) { c.CloseWrite() },
			} {
				t.Sub(how, func(t *T) {
					c := slow(t, t.Server)
					start := time.Now()
					c.Send(part("Connection: close"))
					end(c)
					awaitSent(t, c, "the server shuts down its sending side")
					if n := t.Server.Connections(); n != 1 {
						t.Errorf("%d connections are open while the last response is unacknowledged, want 1", n)
					}
					t.Eventually("the server closes the connection of a client that does not read", func() bool { return t.Server.Connections() == 0 })
					if took := time.Since(start); took < longTimeout || took > longTimeout+3*time.Second {
						t.Errorf("the server closed it after %v, want the write time-out of %v", took, longTimeout)
					}
					if _, err := io.Copy(io.Discard, c.R); !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("the client's read ended with %v, want a reset", err)
					}
					c.Close()
				})
			}
			// A client that reads slowly gets the whole response.
			c := slow(t, t.Server)
			c.Send(part("Connection: close"))
			awaitSent(t, c, "the server shuts down its sending side")
			n, err := io.Copy(io.Discard, wire.Slowly(c.R, unacked/20, 3*longTimeout/20))
			if n < unacked || err != nil {
				t.Errorf("a slow client got %d bytes: %v", n, err)
			}
		}},
		{Name: "close-counted", IDs: []string{"close-bounded", "cli-max-conns"}, Flags: []string{"--max-conns", "2", "--write-timeout", longTimeout.String()}, Alone: true, Run: func(t *T) {
			start := time.Now()
			most := 2
			if t.Stage() == 1 {
				most = 1
			}
			for range most {
				c := slow(t, t.Server)
				c.Send(part("Connection: close"))
				awaitSent(t, c, "the server shuts down its sending side")
			}
			next := t.Dial()
			next.Request("GET", "/healthz").WantBody(200, "ok")
			if took := time.Since(start); took < longTimeout {
				t.Errorf("a client was let in after %v: connections with an unacknowledged response did not count", took)
			}
		}},
		{Name: "timeout-late", IDs: []string{"timeout-late"}, NoServer: true, Run: func(t *T) {
			flags := []string{"--header-timeout", longTimeout.String(), "--body-timeout", longTimeout.String(), "--idle-timeout", longTimeout.String()}
			for what, cut := range map[string]int{"head": 10, "body": len(sized("5", "he")), "idle": 0} {
				s := t.Begin(Config{Flags: flags})
				c := t.DialTo(s, DialOptions{})
				whole := sized("5", "hello")
				start := time.Now()
				c.Send(whole[:cut]).AwaitRead()
				t.Eventually("the server sleeps", func() bool { return s.Connections() == 1 && !s.Awake() })
				s.Signal(syscall.SIGSTOP)
				t.Eventually("the server is suspended", s.Suspended)
				c.Send(whole[cut:])
				time.Sleep(time.Until(start.Add(longTimeout + longTimeout/2))) // longer than any of the time-outs
				s.Signal(syscall.SIGCONT)
				resp, err := c.TryRead("POST")
				if err != nil || string(resp.Body) != "hello" {
					t.Errorf("%s: a request that arrived in time got %v, %v", what, resp, err)
				}
				c.Close()
			}
		}},
	}
}

func refusalCases() []Case {
	const nonsense = "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n"
	return []Case{
		{Name: "refuse-each", IDs: []string{
			"refuse-close", "refuse-nothing-behind", "refuse-framing", "refuse-413", "refuse-414", "refuse-417", "refuse-431", "refuse-505",
		}, Run: func(t *T) {
			exchange(t,
				bad("an error in the head", nonsense),
				bad("an error in the body", "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
				row{name: "413", send: "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n", want: 413},
				row{name: "414", send: "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: h\r\n\r\n", want: 414},
				row{name: "417", send: "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\nx", want: 417},
				row{name: "431", send: get + "X: " + strings.Repeat("a", 70_000) + "\r\n\r\n", want: 431},
				row{name: "505", send: "GET / HTTP/2.0\r\nHost: h\r\n\r\n", want: 505},
			)
		}},
		{Name: "refuse-nothing-behind", IDs: []string{"refuse-nothing-behind"}, Run: func(t *T) {
			// Requests before the refused one are answered. Requests after it are not, whether they arrive
			// with it or later.
			c := t.Dial()
			c.Send(follow + nonsense + follow)
			c.WantBody(200, "ok")
			c.Want(400)
			c.Send(follow)
			c.WantEnd()
		}},
		{Name: "refuse-readable", IDs: []string{"refuse-readable"}, Run: func(t *T) {
			for name, head := range map[string]string{
				"400": nonsense,
				"413": "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n",
				"417": "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: x\r\nContent-Length: 300000\r\n\r\n",
			} {
				t.Sub(name, func(t *T) {
					// If a server closes at once, the next byte from the client causes a reset,
					// which discards an answer that the client has not read yet. So the client
					// waits for the end of the stream, sends more, and only then reads.
					c := t.Dial()
					c.Send(head + strings.Repeat("x", 100_000))
					c.AwaitFIN()
					c.Send(strings.Repeat("x", 200_000))
					c.AwaitRead()
					resp := c.Read()
					if resp.Status < 400 {
						t.Errorf("answered %d, want a refusal", resp.Status)
					}
					c.WantEnd()
				})
			}
			// These requests end with the byte that makes them invalid, so the server has no unread bytes when it
			// answers.
			for name, head := range map[string]string{
				"400": "GET /\x01", "505": "GET / HTTP/2.0\r\n", "414": "GET /" + strings.Repeat("a", 8<<10), "431": get + strings.Repeat("X: y\r\n", 199) + "X",
				"413": sized("1048577", ""), "417": get + "Expect: x\r\n\r\n",
			} {
				t.Sub(name+", then more bytes", func(t *T) {
					c := t.Dial()
					c.Send(head).AwaitFIN()
					c.Send(strings.Repeat("x", 100_000)).AwaitRead()
					c.Read()
					c.WantEnd()
				})
			}
		}},
		{Name: "refuse-drain-bound", IDs: []string{"refuse-drain-bound"}, Alone: true, Run: func(t *T) {
			c := t.Dial()
			c.Send(nonsense).WantRefused(400)
			t.Eventually("the server closes a refused connection that its client keeps open", func() bool {
				return t.Server.Connections() == 0
			})
		}},
		{Name: "refuse-drain-drip", IDs: []string{"refuse-drain-bound"}, Alone: true, Run: func(t *T) {
			c := t.Dial()
			c.Send(nonsense).WantRefused(400)
			gone := time.After(process.Patience)
			for range time.Tick(50 * time.Millisecond) {
				if t.Server.Connections() == 0 {
					return
				}
				select {
				case <-gone:
					t.Fatalf("a client that sends a byte every 50 ms keeps a refused connection open")
				default:
				}
				c.Put("x")
			}
		}},
		{Name: "refuse-drain-size", IDs: []string{"refuse-drain-size"}, Alone: true, Run: func(t *T) {
			// The time limit of 2 s closes the connection too. At least one of four tries must be faster.
			for range 4 {
				c := t.Dial()
				c.Send(nonsense).WantRefused(400)
				start := time.Now()
				c.SendLater(strings.Repeat("x", 16<<20))
				t.Eventually("the server closes a refused connection", func() bool { return t.Server.Connections() == 0 })
				if time.Since(start) < 1500*time.Millisecond {
					return
				}
				c.Close()
			}
			t.Fatalf("16 MiB after a refusal do not close the connection before the 2 s are over")
		}},
		{Name: "keep-each", IDs: []string{
			"keep-301", "keep-304", "keep-403", "keep-404", "keep-405", "keep-412", "keep-416", "keep-501",
		}, Run: func(t *T) {
			exchange(t,
				row{name: "301", send: wire.Request("GET", "/sub", ""), want: 301, kept: true},
				row{name: "304", send: wire.Request("GET", "/plain.txt", "", "If-None-Match: *"), want: 304, kept: true},
				row{name: "403", send: wire.Request("GET", "/private/secret.txt", ""), want: 403, kept: true},
				row{name: "404", send: wire.Request("GET", "/nothing-there", ""), want: 404, kept: true},
				row{name: "404 for a dot name", send: wire.Request("GET", "/.dot", ""), want: 404, kept: true},
				row{name: "404 in the API", send: wire.Request("GET", "/api/nothing-there", ""), want: 404, kept: true},
				row{name: "405", send: wire.Request("POST", "/plain.txt", "x"), want: 405, kept: true},
				row{name: "412", send: wire.Request("GET", "/plain.txt", "", `If-Match: "other"`), want: 412, kept: true},
				row{name: "416", send: wire.Request("GET", "/plain.txt", "", "Range: bytes=1000-"), want: 416, kept: true},
				row{name: "501", send: wire.Request("BREW", "/plain.txt", ""), want: 501, kept: true},
			)
		}},
	}
}
