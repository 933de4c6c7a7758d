package cases

import (
	"fmt"
	"net"
	"strings"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/wire"
)

const get = "GET /healthz HTTP/1.1\r\nHost: h\r\n"

func connectionCases() []Case {
	return []Case{
		{Name: "conn-persistent", IDs: []string{"conn-persistent", "api-healthz"}, Run: func(t *T) {
			c := t.Dial()
			for range 1001 { // some servers close after 100 or 1000 requests
				if resp := c.Request("GET", "/healthz").WantBody(200, "ok"); resp.Has("Connection", "close") {
					t.Fatalf("the response has Connection: close, the request had not")
				}
			}
		}},
		{Name: "conn-close", IDs: []string{"conn-close"}, Run: func(t *T) {
			for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
				c := t.Dial()
				resp := c.Send(method + " /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + follow).ReadTo(method)
				if !resp.Has("Connection", "close") {
					t.Errorf("%s: the response has no Connection: close", method)
				}
				c.WantEnd()
				c.Close()
			}
		}},
		{Name: "conn-close-token", IDs: []string{"conn-close-token", "field-name-case"}, Run: closeTokens},
		{Name: "conn-10", IDs: []string{"conn-10-closes", "host-10"}, Run: func(t *T) {
			for _, raw := range []string{
				"GET /healthz HTTP/1.0\r\n\r\n",
				"GET /healthz HTTP/1.0\r\nHost: h\r\n\r\n",
				"GET /healthz HTTP/1.0\r\nConnection: close\r\n\r\n",
				"GET /healthz HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
				"GET /healthz HTTP/1.0\r\nConnection: x-keep-alive\r\n\r\n",
				"POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nok",
			} {
				t.Sub(fmt.Sprintf("%q", raw), func(t *T) {
					c := t.Dial()
					c.Send(raw).WantBody(200, "ok")
					c.WantEnd()
				})
			}
		}},
		{Name: "conn-10-keep-alive", IDs: []string{"conn-10-keep-alive"}, Run: func(t *T) {
			for _, value := range []string{"keep-alive", "Keep-Alive", "foo, KEEP-ALIVE"} {
				c := t.Dial()
				for range 2 {
					resp := c.Send("GET /healthz HTTP/1.0\r\nConnection: "+value+"\r\n\r\n").WantBody(200, "ok")
					if !resp.Has("Connection", "keep-alive") {
						t.Errorf("Connection: %s: the response has no Connection: keep-alive", value)
					}
				}
				c.Close()
			}
		}},
		{Name: "conn-no-early-success", IDs: []string{"conn-no-early-success"}, Run: func(t *T) {
			c := t.Dial()
			head := get + "X: y\r\n"
			for _, piece := range []string{"GET /healthz HTTP/1.1\r\n", head[len("GET /healthz HTTP/1.1\r\n"):], "\r"} {
				c.Send(piece)
				c.AwaitRead()
				c.WantSilence(30 * time.Millisecond)
			}
			c.Send("\n").WantBody(200, "ok")
		}},
		{Name: "conn-early-refusal", IDs: []string{"conn-early-refusal"}, Run: earlyRefusals},
		{Name: "conn-refusal-line", IDs: []string{"conn-refusal-line"}, Run: refusalsAtLineEnd},
		{Name: "conn-refusal-head", IDs: []string{"conn-refusal-head"}, Run: refusalsAtHeadEnd},
		{Name: "conn-split-anywhere", IDs: []string{"conn-pipeline", "body-length", "body-chunked"}, Run: func(t *T) {
			for _, raw := range []string{
				"GET /healthz HTTP/1.1\r\nHost: h\r\nUser-Agent: splitter\r\n\r\n",
				"\r\nPOST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok",
				"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;a=\"b\"\r\no\r\n01\r\nk\r\n0\r\nX: y\r\n\r\n",
			} {
				t.EachSplit(raw, func(c *Client) { c.WantBody(200, "ok") })
			}
		}},
		{Name: "conn-pipeline", IDs: []string{"conn-pipeline"}, Run: pipeline},
		{Name: "conn-pipeline-mixed", IDs: []string{"conn-pipeline", "resp-exact"}, Run: pipelineMixed},
		{Name: "conn-empty-lines", IDs: []string{"conn-empty-lines"}, Run: func(t *T) {
			exchange(t,
				ok("one empty line", "\r\n"+get+"\r\n"),
				ok("two empty lines", "\r\n\r\n"+get+"\r\n"),
			)
			c := t.Dial()
			c.Send(strings.Repeat("\r\n"+get+"\r\n\r\n", 5))
			for range 5 {
				c.WantBody(200, "ok")
			}
			c.WantKept()
		}},
		{Name: "conn-half-close", IDs: []string{"conn-half-close"}, Run: func(t *T) {
			c := t.Dial()
			c.Send(get+"\r\n").CloseWrite().WantBody(200, "ok")
			c.WantEnd()
			c.Close()

			c = t.Dial()
			for i := range 5 {
				c.Post("/echo", fmt.Sprint("request ", i))
			}
			c.CloseWrite()
			for i := range 5 {
				c.WantBody(200, fmt.Sprint("request ", i))
			}
			c.WantEnd()
			c.Close()

			// The server can see the end of the stream before it begins to answer.
			c = t.Dial()
			c.Send(get)
			c.AwaitRead()
			c.Send("\r\n").CloseWrite().WantBody(200, "ok")
			c.WantEnd()
		}},
		{Name: "conn-eof-mid-request", IDs: []string{"conn-eof-mid-request"}, Run: func(t *T) {
			for _, raw := range []string{
				"G", "GET /", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\n", get, get + "X", get + "\r", "\r\n", "\r",
				"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
				"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhell",
				"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
				"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
				"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
			} {
				t.Sub(fmt.Sprintf("%q", raw), func(t *T) {
					c := t.Dial()
					c.Send(raw).CloseWrite()
					resp, err := c.TryRead("GET")
					switch {
					case err == nil && resp.Status == 400:
						c.WantEnd()
					case err == nil:
						t.Fatalf("answered %v, want 400", resp)
					case !wire.Closed(err):
						t.Fatalf("want 400 or a closed connection, got: %v", err)
					}
				})
			}
		}},
		{Name: "conn-first-eof", IDs: []string{"conn-first-eof"}, Run: func(t *T) {
			for range 30 { // 90 clients: more than the 64 workers of a pool
				t.Dial().Close()
				t.Dial().Reset()
				c := t.Dial()
				c.Send("GET / HT").Reset()
			}
		}},
		{Name: "conn-reset-in-response", IDs: []string{"conn-first-eof"}, Run: func(t *T) {
			for range 3 {
				c := t.Dial()
				c.Request("GET", "/big.bin")
				c.AwaitAnswer()
				c.Reset()
				c = t.Dial()
				c.Request("GET", "/big.bin")
				c.AwaitAnswer()
				c.Close() // the server's next sends fail with ECONNRESET and EPIPE
			}
		}},
		{
			Name: "conn-head-of-line", IDs: []string{"conn-head-of-line"}, Fails: stages.In(1), Alone: true,
			Run: func(t *T) {
				defer explain(t)
				half := t.Dial()
				half.Send("GET /healthz HT")
				half.AwaitRead()
				t.Dial().Request("GET", "/healthz").WantBody(200, "ok")
				half.Send("TP/1.1\r\nHost: h\r\n\r\n").WantBody(200, "ok")
			},
		},
		{
			Name: "conn-idle-500", IDs: []string{"conn-idle-500"}, Fails: stages.In(1, 2, 3), Alone: true,
			Run: func(t *T) {
				defer explain(t)
				t.Idle(500)
				t.Dial().Request("GET", "/healthz").WantBody(200, "ok")
			},
		},
		{
			Name: "conn-ipv6", IDs: []string{"conn-ipv6"}, Fails: stages.In(1, 2),
			Run: func(t *T) {
				if !haveIPv6() {
					if t.Case.Fails.Has(t.Stage()) {
						t.Fatalf("this machine has no IPv6")
					}
					t.Logf("skipped: this machine has no IPv6")
					return
				}
				c := t.DialTo(t.Server, DialOptions{IPv6: true})
				c.Request("GET", "/healthz").WantBody(200, "ok")
				c.Close()
				t.Dial().Request("GET", "/healthz").WantBody(200, "ok")
			},
		},
	}
}

// haveIPv6 reports whether this machine has the address ::1.
func haveIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

func closeTokens(t *T) {
	for _, fields := range []string{
		"Connection: Close", "Connection: foo, CLOSE", "connection:close", "CONNECTION:\tclose\t", "Connection: ,close,",
		"Connection: foo\r\nConnection: close", "Connection: close\r\nConnection: foo",
		"Connection: keep-alive, close", "Connection: close,keep-alive",
	} {
		t.Sub(fmt.Sprintf("%q", fields), func(t *T) {
			c := t.Dial()
			resp := c.Send(get+fields+"\r\n\r\n"+follow).WantBody(200, "ok")
			if !resp.Has("Connection", "close") {
				t.Errorf("the response has no Connection: close")
			}
			c.WantEnd()
		})
	}
	for _, fields := range []string{
		"Connection: closed", "Connection: x-close", "Connection: keep-alive", "Connection:", "Connection: close-not", "X-Connection: close",
		"Connection: cl ose",
	} {
		t.Sub(fmt.Sprintf("%q", fields), func(t *T) {
			c := t.Dial()
			c.Send(get+fields+"\r\n\r\n").WantBody(200, "ok")
			c.WantKept()
		})
	}
}

// earlyRefusals ends each request with the byte that makes it invalid. The server must refuse it without
// waiting for more.
func earlyRefusals(t *T) {
	const post = "POST /echo HTTP/1.1\r\nHost: h\r\n"
	const chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
	rows := []row{
		bad("a method that is not a token", "G("),
		bad("a control byte in the target", "GET /\x01"),
		bad("DEL in the target", "GET /\x7f"),
		bad("a high byte in the target", "GET /\xc3"),
		bad("a fragment", "GET /a#"),
		bad("a quote in the path", "GET /\""),
		bad("an escape that is not hex", "GET /%g"),
		bad("an escape of a control byte", "GET /%0"),
		bad("a third empty line", "\r\n\r\n\r"),
		bad("a bare CR before the request line", "\rG"),
		bad("two spaces before the target", "GET  "),
		bad("two spaces before the version", "GET /  "),
		bad("a version in lower case", "GET / h"),
		bad("a version without a digit", "GET / HTTP/x"),
		bad("a version with two digits", "GET / HTTP/11"),
		bad("a space after the version", "GET / HTTP/2.0 "),
		bad("a bare LF after the request line", "GET / HTTP/1.1\n"),
		bad("a bare CR in the request line", "GET / HTTP/1.1\rX"),
		bad("a field name that is not a token", get+"X("),
		bad("a space in a field name", get+"X :"),
		bad("a folded line", get+"X: y\r\n z"),
		bad("a control byte in a value", get+"X: y\x01"),
		bad("a NUL in a value", get+"X: y\x00"),
		bad("a bare CR in a value", get+"X: y\rz"),
		bad("a bare LF in a value", get+"X: y\n"),
		bad("a chunk size that is not a number", chunked+"g"),
		bad("a chunk size of 17 digits", chunked+"00000000000000005"),
		bad("no CR after the data of a chunk", chunked+"1\r\naX"),
		bad("no LF after the data of a chunk and CR", chunked+"1\r\na\rX"),
		bad("a chunk line over 4 KiB", chunked+"1;"+strings.Repeat("a", 4200)),
		bad("a method over 8 KiB", strings.Repeat("A", 8<<10+1)),
		{name: "a target over 8 KiB", send: "GET /" + strings.Repeat("a", 8<<10), want: 414},
		{name: "a head over 64 KiB", send: get + "X: " + strings.Repeat("a", 64<<10), want: 431},
		{name: "201 fields", send: get + strings.Repeat("X: y\r\n", 199) + "X", want: 431},
		bad("a bare CR at the end of the head", get+"\rX"),
		bad("a chunk extension without a name", chunked+"1;="),
		bad("a space at the beginning of a trailer", chunked+"0\r\n "),
		bad("a trailer name that is not a token", chunked+"0\r\nX("),
		bad("a control byte in a trailer", chunked+"0\r\nX: \x01"),
		{name: "trailers over 64 KiB", send: chunked + "0\r\nX: " + strings.Repeat("a", 64<<10), want: 431},
		{name: "201 trailers", send: chunked + "0\r\n" + strings.Repeat("X: y\r\n", 200) + "X", want: 431},
		{name: "chunk extensions over 1 MiB", send: chunked + strings.Repeat("1;"+strings.Repeat("a", 4094)+"\r\nx\r\n", 256) + "1;" + strings.Repeat("a", 256), want: 413},
	}
	for _, r := range rows {
		t.Sub(r.name, func(t *T) {
			t.Dial().Send(r.send).WantRefused(r.want)
		})
	}
}

// A lateRefusal is an invalid request in two parts. The server must not answer the first part, and must
// refuse the request at the second part.
type lateRefusal struct {
	name, first, second string
	want                int
}

func (r lateRefusal) run(t *T) {
	t.Sub(r.name, func(t *T) {
		c := t.Dial()
		c.Send(r.first)
		c.AwaitRead()
		c.WantSilence(20 * time.Millisecond)
		c.Send(r.second).WantRefused(r.want)
	})
}

// refusalsAtLineEnd has errors that the server finds at the end of a target, a field line or a chunk line.
func refusalsAtLineEnd(t *T) {
	lateRefusal{"a target of another form", "GET healthz", " ", 400}.run(t)
	lateRefusal{"an asterisk with GET", "GET *", " ", 400}.run(t)
	lateRefusal{"userinfo in the target", "GET http://u@h/", " ", 400}.run(t)
	for _, r := range []struct {
		name, line string // the line without its line feed
		want       int
	}{
		{"another major version", "GET / HTTP/2.0\r", 505},
		{"a malformed Host", "GET / HTTP/1.1\r\nHost: a b\r", 400},
		{"an empty Host", "GET / HTTP/1.1\r\nHost:\r", 400},
		{"a second Host", get + "Host: h\r", 400},
		{"a second Content-Type", get + "Content-Type: a/b\r\nContent-Type: a/b\r", 400},
		{"a malformed Content-Length", post + "Content-Length: x\r", 400},
		{"a Content-Length of 64 bits", post + "Content-Length: 18446744073709551616\r", 400},
		{"a second Content-Length", post + "Content-Length: 5\r\nContent-Length: 6\r", 400},
		{"a malformed Transfer-Encoding", post + "Transfer-Encoding: ,chunked\r", 400},
		{"a coding after chunked", post + "Transfer-Encoding: chunked, gzip\r", 400},
		{"Transfer-Encoding after Content-Length", post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r", 400},
		{"Content-Length after Transfer-Encoding", post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r", 400},
		{"Transfer-Encoding in HTTP/1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r", 400},
		{"a chunk over 1 MiB", post + "Transfer-Encoding: chunked\r\n\r\n100001\r", 413},
	} {
		lateRefusal{r.name, r.line, "\n", r.want}.run(t)
	}
}

// refusalsAtHeadEnd has errors that the server finds when the head is complete.
func refusalsAtHeadEnd(t *T) {
	for _, r := range []struct {
		name, fields string
		want         int
	}{
		{"no Host", "", 400},
		{"another expectation", "Host: h\r\nExpect: miracles\r\n", 417},
		{"a list of codings without chunked", "Host: h\r\nTransfer-Encoding: gzip\r\n", 400},
		{"a coding before chunked", "Host: h\r\nTransfer-Encoding: gzip, chunked\r\n", 501},
		{"a Content-Length over 1 MiB", "Host: h\r\nContent-Length: 1048577\r\n", 413},
	} {
		lateRefusal{r.name, "POST /echo HTTP/1.1\r\n" + r.fields + "\r", "\n", r.want}.run(t)
	}
}

func pipeline(t *T) {
	var all strings.Builder
	for i := range 100 {
		all.WriteString(wire.Request("POST", "/echo", fmt.Sprint("number ", i)))
	}
	read := func(c *Client) {
		for i := range 100 {
			c.WantBody(200, fmt.Sprint("number ", i))
		}
		c.WantKept()
		c.Close()
	}
	t.Sub("in one segment", func(t *T) { read(t.Dial().Send(all.String())) })
	for _, longest := range []int{3, 50, 500, 5000} {
		t.Sub(fmt.Sprintf("in segments of up to %d bytes", longest), func(t *T) {
			c := t.Dial()
			sent := c.SendRandomly(all.String(), longest, uint64(longest))
			read(c)
			<-sent
		})
	}
	t.Sub("together with half of the next request", func(t *T) {
		c := t.Dial()
		raw := wire.Request("POST", "/echo", "ok")
		c.Send(raw+raw[:len(raw)/2]).WantBody(200, "ok")
		c.Send(raw[len(raw)/2:]).WantBody(200, "ok")
		c.WantKept()
	})
	t.Sub("nothing after Connection: close is answered", func(t *T) {
		c := t.Dial()
		c.Send(strings.Repeat(get+"\r\n", 3) + get + "Connection: close\r\n\r\n" + follow)
		for range 4 {
			c.WantBody(200, "ok")
		}
		c.WantEnd()
	})
}

// pipelineMixed pipelines requests of different kinds. Each response must end where the next one
// begins.
func pipelineMixed(t *T) {
	steps := []struct {
		method, raw string
		want        int
	}{
		{"GET", wire.Request("GET", "/plain.txt", ""), 200},
		{"HEAD", wire.Request("HEAD", "/plain.txt", ""), 200},
		{"GET", wire.Request("GET", "/nothing-there", ""), 404},
		{"HEAD", wire.Request("HEAD", "/nothing-there", ""), 404},
		{"OPTIONS", wire.Request("OPTIONS", "/plain.txt", ""), 204},
		{"POST", wire.Request("POST", "/plain.txt", "not wanted"), 405},
		{"GET", wire.Request("GET", "/plain.txt", "", "If-None-Match: *"), 304},
		{"GET", wire.Request("GET", "/plain.txt", "", "Range: bytes=1-3"), 206},
		{"GET", wire.Request("GET", "/sub", ""), 301},
		{"BREW", wire.Request("BREW", "/", ""), 501},
		{"POST", wire.Request("POST", "/echo", "body"), 200},
		{"GET", wire.Request("GET", "/k.txt", ""), 200},
	}
	var all strings.Builder
	for _, s := range steps {
		all.WriteString(s.raw)
	}
	c := t.Dial()
	for range 3 {
		c.Send(all.String())
		for _, s := range steps {
			c.WantTo(s.method, s.want)
		}
	}
	c.WantKept()
}

// many is the number of connections in a case. It is large enough to exhaust a server that loses a
// descriptor or a thread with each connection.
const many = 4000

// manyCases returns the cases with many connections, one after another. Each has its own server.
func manyCases() []Case {
	run := func(one func(t *T, i int)) func(*T) {
		return func(t *T) {
			t.Dial().Request("GET", "/plain.txt").WantBody(200, docroot.Texts["plain.txt"])
			t.End()
			t.Eventually("the first client is gone", func() bool { return t.Server.Connections() <= 0 })
			before := len(t.Server.FDs())
			start := time.Now()
			for i := range many {
				one(t, i)
			}
			// A client that connects after all of them is served, so the server has accepted them all.
			t.Dial().Patience(time.Minute).Request("GET", "/plain.txt").WantBody(200, docroot.Texts["plain.txt"])
			t.End()
			if took := time.Since(start); took > time.Minute {
				t.Errorf("%d connections take %v, want at most 1 minute", many, took)
			}
			after := 0
			if !kernel.Eventually(t.Patience(), func() bool { after = len(t.Server.FDs()); return after <= before }) {
				t.Errorf("the server has %d descriptors, want at most the %d that it had before", after, before)
			}
		}
	}
	// drop sends the beginning of a request and then closes or resets the connection, in turn.
	drop := func(part string) func(*T, int) {
		return func(t *T, i int) {
			c := t.Connect(t.Server, DialOptions{})
			c.Send(part)
			if i%2 == 0 {
				c.Close()
			} else {
				c.Reset()
			}
		}
	}
	return []Case{
		{Name: "many-served", IDs: []string{"conn-many"}, Alone: true, Flags: []string{"-s"}, Run: run(func(t *T, i int) {
			c := t.Connect(t.Server, DialOptions{})
			body := fmt.Sprint("number ", i)
			c.Post("/echo", body).WantBody(200, body)
			c.Close()
		})},
		{Name: "many-dropped-in-line", IDs: []string{"conn-many-dropped"}, Alone: true, Flags: []string{"-s"}, Run: run(drop("GET /plain.tx"))},
		{Name: "many-dropped-in-head", IDs: []string{"conn-many-dropped"}, Alone: true, Flags: []string{"-s"}, Run: run(drop(get + "X: y"))},
	}
}

// explain says after a failure why the server answers nobody.
func explain(t *T) {
	if why := t.Server.Blocked(); t.Failed() && why != "" {
		t.Logf("%s", why)
	}
}
