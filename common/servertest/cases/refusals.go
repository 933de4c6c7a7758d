package cases

import (
	"strings"
	"time"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
)

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
