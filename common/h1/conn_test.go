package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// TestKeepAlive sends lastRequest after each input. The request is answered only if the
// connection is kept alive.
func TestKeepAlive(t *testing.T) {
	get10 := func(fields string) string { return "GET /a HTTP/1.0\r\n" + fields + "\r\n" }
	for _, c := range []struct {
		name, in string
		methods  []string
		want     []string
		conn     string // the Connection field of the first response
		log      []string
	}{
		{"two requests", get("/a") + get("/b"), nil, []string{"200 GET /a", "200 GET /b", "200 GET /last"}, "", []string{"GET /a HTTP/1.1 200", "GET /b HTTP/1.1 200", "GET /last HTTP/1.1 200"}},
		{"Connection: close", "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", nil, []string{"200 GET /a"}, "close", nil},
		{"HTTP/1.0", get10(""), nil, []string{"200 GET /a"}, "close", []string{"GET /a HTTP/1.0 200"}},
		{"HTTP/1.0, keep-alive", get10("Connection: keep-alive\r\n"), nil, []string{"200 GET /a", "200 GET /last"}, "keep-alive", nil},
		{"HTTP/1.0, keep-alive and close", get10("Connection: keep-alive, close\r\n"), nil, []string{"200 GET /a"}, "close", nil},
		{"HTTP/1.3", strings.Replace(get("/a"), "1.1", "1.3", 1), nil, []string{"200 GET /a", "200 GET /last"}, "", []string{"GET /a HTTP/1.3 200", "GET /last HTTP/1.1 200"}},
		{"the handler closes", get("/close"), nil, []string{"200 GET /close"}, "close", nil},
		{"HEAD", strings.Replace(get("/a"), "GET", "HEAD", 1), []string{"HEAD"}, []string{"200 ", "200 GET /last"}, "", nil},
		{"204", get("/204"), nil, []string{"204 ", "200 GET /last"}, "", nil},
		{"304", get("/304"), nil, []string{"304 ", "200 GET /last"}, "", nil},
		{"an unknown method", strings.Replace(get("/a"), "GET", "BREW", 1), nil, []string{"501 501 Not Implemented: the server does not implement this method\n", "200 GET /last"}, "", []string{"BREW /a HTTP/1.1 501", "GET /last HTTP/1.1 200"}},
		{"CONNECT", "CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", nil, []string{"501 501 Not Implemented: the server does not implement this method\n", "200 GET /last"}, "", nil},
		{"a body", post("/a", "hello"), nil, []string{"200 POST /a hello", "200 GET /last"}, "", nil},
		{"a body on GET", strings.Replace(post("/a", "GET / HTTP/1.1\r\n\r\n"), "POST", "GET", 1), nil, []string{"200 GET /a GET / HTTP/1.1\r\n\r\n", "200 GET /last"}, "", nil},
		{"a chunked body", chunks("3\r\nabc\r\n2;x\r\nde\r\n0\r\nA: b\r\n\r\n"), nil, []string{"200 POST / abcde", "200 GET /last"}, "", nil},
		{"an unknown method with a body", strings.Replace(post("/a", "GET "), "POST", "BREW", 1), nil, []string{"501 501 Not Implemented: the server does not implement this method\n", "200 GET /last"}, "", nil},
		{"empty lines between requests", get("/a") + "\r\n\r\n", nil, []string{"200 GET /a", "200 GET /last"}, "", nil},
		{"a refusal", "GET / HTTP/2.0\r\n", nil, []string{"505 505 HTTP Version Not Supported: the server supports only HTTP/1.0 and HTTP/1.1\n"}, "close", []string{"GET / HTTP/2.0 505"}},
		{"a refusal of a HEAD", "HEAD / HTTP/1.1\r\n\r\n", []string{"HEAD"}, []string{"400 "}, "close", nil},
		{"a refusal after a request", get("/a") + "G(\r\n\r\n", nil, []string{"200 GET /a", "400 400 Bad Request: the method is not a token\n"}, "", []string{"GET /a HTTP/1.1 200", "   400"}},
		{"a refusal in a body", chunks("x\r\n"), nil, []string{"400 400 Bad Request: a chunk does not begin with a size of 1 to 16 hex digits\n"}, "close", []string{"POST / HTTP/1.1 400"}},
		{"a refusal in a body of an unknown method", strings.Replace(chunks("x\r\n"), "POST", "BREW", 1), nil, []string{"400 400 Bad Request: a chunk does not begin with a size of 1 to 16 hex digits\n"}, "close", nil},
		{"no final chunked", with("Transfer-Encoding: gzip\r\n\r\n"), nil, []string{"400 400 Bad Request: the last transfer coding is not chunked, so the end of the body is unknown\n"}, "close", nil},
		{"an unknown coding", with("Transfer-Encoding: gzip, chunked\r\n\r\n"), nil, []string{"501 501 Not Implemented: the server supports no transfer coding other than chunked\n"}, "close", nil},
		{"a body too large", with("Content-Length: 1048577\r\n\r\n"), nil, []string{"413 413 Content Too Large: the body is longer than 1 MiB\n"}, "close", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, nonblocking bool) {
				s := newSetup(t, nonblocking)
				conn, client := s.pair()
				done := background(conn)
				client.send(c.in + lastRequest)
				client.endSending()
				got := answers(t, client.all(), c.methods...)
				if err := <-done; err != nil {
					t.Errorf("the connection ended with %v", err)
				}
				wantAnswers(t, got, c.want...)
				if len(got) > 0 && got[0].header.Get("Connection") != c.conn {
					t.Errorf("Connection: %q, want %q", got[0].header.Get("Connection"), c.conn)
				}
				if c.log != nil && !slices.Equal(s.journal().entries, c.log) {
					t.Errorf("log %q, want %q", s.journal().entries, c.log)
				}
				if n := s.cfg.memory.Load(); n != 0 {
					t.Errorf("%d bytes are still counted in memory", n)
				}
			})
		})
	}
}

// A client that shuts down its sending side gets the responses to its complete requests. It
// gets a 400 for an incomplete one.
func TestEndOfStream(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"\r\n", nil},
		{get("/a"), []string{"200 GET /a"}},
		{get("/a") + get("/b"), []string{"200 GET /a", "200 GET /b"}},
		{get("/a") + "GET /b HT", []string{"200 GET /a", "400 400 Bad Request: the connection ended in the middle of the request\n"}},
		{"G", []string{"400 400 Bad Request: the connection ended in the middle of the request\n"}},
		{strings.TrimSuffix(post("/a", "abc"), "c"), []string{"400 400 Bad Request: the connection ended in the middle of the request\n"}},
		{chunks("3\r\nabc\r\n0\r\n"), []string{"400 400 Bad Request: the connection ended in the middle of the request\n"}},
	} {
		both(t, func(t *testing.T, nonblocking bool) {
			s := newSetup(t, nonblocking)
			conn, client := s.pair()
			client.send(c.in)
			client.endSending()
			done := background(conn)
			wantAnswers(t, answers(t, client.all()), c.want...)
			if err := <-done; err != nil {
				t.Errorf("%q: the connection ended with %v", c.in, err)
			}
		})
	}
}

func TestPipelining(t *testing.T) {
	const n = 100
	var in strings.Builder
	var want []string
	for i := range n {
		switch i % 3 {
		case 0:
			in.WriteString(get(fmt.Sprint("/", i)))
			want = append(want, fmt.Sprint("200 GET /", i))
		case 1:
			in.WriteString(post(fmt.Sprint("/", i), "body"))
			want = append(want, fmt.Sprint("200 POST /", i, " body"))
		case 2:
			fmt.Fprintf(&in, "PUT /%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", i)
			want = append(want, fmt.Sprint("200 PUT /", i, " abc"))
		}
	}
	both(t, func(t *testing.T, nonblocking bool) {
		for seed := range uint64(6) {
			s := newSetup(t, nonblocking)
			conn, client := s.pair()
			done := background(conn)
			rnd := rand.New(rand.NewPCG(seed, 0))
			if seed == 0 {
				client.send(in.String()) // in one write
			} else {
				go func() {
					for rest := in.String(); len(rest) > 0; {
						n := min(len(rest), 1+rnd.IntN(int(seed)*40))
						io.WriteString(client, rest[:n])
						rest = rest[n:]
					}
					client.Conn.(interface{ CloseWrite() error }).CloseWrite()
				}()
			}
			if seed == 0 {
				client.endSending()
			}
			wantAnswers(t, answers(t, client.all()), want...)
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// However many requests come without a pause, the buffer does not grow.
func TestManyRequestsInTheSameMemory(t *testing.T) {
	requests := 100_000
	if testing.Short() {
		requests = 10_000
	}
	s := newSetup(t, true)
	s.cfg.Log = nil
	body := []byte("x")
	s.cfg.Handler = func(w *Response, _ *Request) { w.Bytes(body) }
	conn, client := s.pair()
	defer conn.Close()
	largest := 0
	all := []byte(strings.Repeat(get("/a")+chunks("3\r\nabc\r\n0\r\n\r\n"), requests/2))
	sent, idle, sink := 0, 0, make([]byte, 1<<16)
	raw := clientFD(t, client)
	for sent < len(all) || conn.ex != nil {
		if sent == len(all) {
			if idle++; idle > 1000 {
				t.Fatal("all requests are answered, but the connection still has an exchange")
			}
		} else {
			// The next write goes on where the kernel has cut this one off.
			if n, err := unix.Write(raw, all[sent:]); n > 0 {
				sent += n
			} else if err != unix.EAGAIN {
				t.Fatal(err)
			}
		}
		if err := serve(conn); err != sock.ErrAgain {
			t.Fatalf("serve: %v", err)
		}
		conn.Ready()
		if conn.ex != nil {
			largest = max(largest, conn.ex.in.Cap())
		}
		for n := 1; n > 0; {
			n, _ = unix.Read(raw, sink)
		}
	}
	if largest > 2*baseBuffer {
		t.Errorf("a buffer grew to %d bytes", largest)
	}
	// A Pos counts from the connection's first byte, not from the first byte of an exchange.
	if idle, next := int(conn.received), int(conn.borrow().in.Pos()); idle != sent || next != sent {
		t.Errorf("the idle position is %d and the next one %d, want %d", idle, next, sent)
	}
}

// clientFD returns a descriptor of the client's socket. It stays open until the test ends.
func clientFD(t testing.TB, c *client) (fd int) {
	t.Helper()
	f, err := c.Conn.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	fd = int(f.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestContinue(t *testing.T) {
	head := "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
	chunked := "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n"
	const interim = "HTTP/1.1 100 Continue\r\n\r\n"
	for _, c := range []struct {
		name, head, body string
		continued        bool
		want             string
	}{
		{"with a length", head, "abc", true, "200 POST /a abc"},
		{"chunked", chunked, "3\r\nabc\r\n0\r\n\r\n", true, "200 POST /a abc"},
		{"the body has begun", head + "a", "bc", false, "200 POST /a abc"},
		{"the chunks have begun", chunked + "3", "\r\nabc\r\n0\r\n\r\n", false, "200 POST /a abc"},
		{"the whole body has arrived", head + "abc", "", false, "200 POST /a abc"},
		{"no body", strings.Replace(head, "Length: 3", "Length: 0", 1), "", false, "200 POST /a"},
		{"no length", strings.Replace(head, "Content-Length: 3", "A: b", 1), "", false, "200 POST /a"},
		{"HTTP/1.0", strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1), "abc", false, "200 POST /a abc"},
		{"another expectation", strings.Replace(head, "100-continue", "tea", 1), "", false, "417 417 Expectation Failed: the server supports no expectation other than 100-continue\n"},
		{"too large", strings.Replace(head, "Length: 3", "Length: 9999999", 1), "", false, "413 413 Content Too Large: the body is longer than 1 MiB\n"},
		{"a bad body", chunked, "x", true, "400 400 Bad Request: a chunk does not begin with a size of 1 to 16 hex digits\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSetup(t, true)
			conn, client := s.pair()
			// An earlier request, and a head that arrives byte by byte, must not matter. The
			// last byte of the head comes together with the first bytes of the body, if any.
			end := strings.Index(c.head, "\r\n\r\n") + 3
			for _, piece := range append(strings.Split(get("/first")+c.head[:end], ""), c.head[end:]) {
				client.send(piece)
				conn.Ready()
				if err := serve(conn); err != sock.ErrAgain && conn.Want() != Close {
					t.Fatal(err)
				}
			}
			_, first, _ := strings.Cut(client.here(), "GET /first")
			if c.continued != (first == interim) {
				t.Fatalf("before the body: %q", first)
			}
			if c.continued {
				first = ""
			}
			client.send(c.body)
			client.endSending()
			conn.Ready()
			drive(conn)
			wantAnswers(t, answers(t, first+client.all()), c.want)
		})
	}
	both(t, func(t *testing.T, nonblocking bool) { // two such requests on one connection
		s := newSetup(t, nonblocking)
		conn, client := s.pair()
		done := background(conn)
		client.send(head)
		p := make([]byte, len(interim))
		if _, err := io.ReadFull(client, p); err != nil || string(p) != interim {
			t.Fatalf("%q, %v", p, err)
		}
		client.send("abc" + head)
		wantAnswers(t, answers(t, readUntil(t, client, "abc")), "200 POST /a abc")
		if _, err := io.ReadFull(client, p); err != nil || string(p) != interim {
			t.Fatalf("second request: %q, %v", p, err)
		}
		client.send("def")
		client.endSending()
		wantAnswers(t, answers(t, client.all()), "200 POST /a def")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// An answer that is certain from the head replaces 100 Continue, and ends the connection.
func TestEarly(t *testing.T) {
	const fields = " HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
	const length, chunked = fields + "Content-Length: 3\r\n\r\n", fields + "Transfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct {
		name, head string
		calls      int
		want       string // the response to the head, or "" for 100 Continue
		log        string
	}{
		{"certain", "POST /certain" + length, 1, "405 lengths 3, body 0", "POST /certain HTTP/1.1 405"},
		{"certain, chunked", "POST /certain" + chunked, 1, "405 lengths -1, body 0", "POST /certain HTTP/1.1 405"},
		{"HEAD", "HEAD /certain" + length, 1, "405 ", "HEAD /certain HTTP/1.1 405"},
		{"not certain", "POST /" + length, 1, "", ""},
		{"an unknown method", "BREW /certain" + length, 0, "501 501 Not Implemented: the server does not implement this method\n", "BREW /certain HTTP/1.1 501"},
		{"a panic", "POST /panic" + length, 1, "500 500 Internal Server Error\n", "POST /panic HTTP/1.1 500"},
		{"the body has begun", "POST /certain" + length + "a", 0, "", ""},
		{"no Expect", "POST /certain HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n", 0, "", ""},
		{"no body", "POST /certain" + fields + "\r\n", 0, "", ""},
		{"HTTP/1.0", strings.Replace("POST /certain"+length, "HTTP/1.1", "HTTP/1.0", 1), 0, "", ""},
		{"a refused head", strings.Replace("POST /certain"+length, "Host", "Hose", 1), 0, "400 400 Bad Request: the Host field is missing\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSetup(t, true)
			calls := 0
			file := newFile(t, []byte("lost"))
			s.cfg.Early = func(w *Response, r *Request) bool {
				calls++
				if string(r.Path) != "/certain" {
					w.Status = 404
					w.File(file, 0, 4)
					if string(r.Path) == "/panic" {
						echo(w, r)
					}
					return false
				}
				w.Status = 405
				w.Built(fmt.Appendf(w.Build(), "lengths %d, body %d", r.Length, len(r.Body)))
				return true
			}
			conn, client := s.pair()
			end := strings.Index(c.head, "\r\n\r\n") + 3 // the last byte of the head comes together with those after it
			for _, piece := range append(strings.Split(c.head[:end], ""), c.head[end:]) {
				client.send(piece)
				conn.Ready()
				if err := serve(conn); err != nil && err != sock.ErrAgain {
					t.Fatal(err)
				}
			}
			if calls != c.calls {
				t.Errorf("Early is called %d times, want %d", calls, c.calls)
			}
			if c.want == "" {
				if conn.state == draining {
					t.Errorf("the request is refused: %q", client.here())
				}
			} else {
				client.send("abc" + get("/next"))
				drive1(t, conn, client)
				got := answers(t, client.all(), strings.Fields(c.head)[0])
				wantAnswers(t, got, c.want)
				if len(got) > 0 && got[0].header.Get("Connection") != "close" {
					t.Errorf("the early answer has no Connection: close")
				}
				if e := s.journal().entries; c.log != "" && !slices.Equal(e, []string{c.log}) {
					t.Errorf("the log has %q, want %q", e, c.log)
				}
			}
			if p := s.journal().panics; (len(p) > 0) != (c.name == "a panic") {
				t.Errorf("panics in the log: %q", p)
			}
			if c.calls == 1 && !strings.Contains(c.head, "/certain") && file.released != 1 {
				t.Errorf("the file of the dropped response was released %d times, want 1", file.released)
			}
		})
	}
	both(t, func(t *testing.T, nonblocking bool) { // after a request that is not certain, the handler gets the body
		s := newSetup(t, nonblocking)
		s.cfg.Early = func(w *Response, _ *Request) bool {
			w.Error(404, "")
			return false
		}
		conn, client := s.pair()
		done := background(conn)
		client.send("POST /a" + length)
		readUntil(t, client, "HTTP/1.1 100 Continue\r\n\r\n")
		client.send("abc" + lastRequest)
		wantAnswers(t, answers(t, client.all()), "200 POST /a abc", "200 GET /last")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A handler that refuses a request ends the connection as a malformed request does.
func TestRefuse(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		s := newSetup(t, nonblocking)
		s.cfg.Handler = func(w *Response, _ *Request) { w.Refuse(413, "too much") }
		conn, client := s.pair()
		done := background(conn)
		client.send(post("/a", "hello"))
		got := readUntil(t, client, "too much\n")
		client.send(lastRequest) // the connection reads and drops it
		client.endSending()
		got += client.all()
		if err := <-done; err != nil {
			t.Error(err)
		}
		all := answers(t, got)
		wantAnswers(t, all, "413 413 Content Too Large: too much\n")
		if len(all) > 0 && all[0].header.Get("Connection") != "close" {
			t.Error("the refusal has no Connection: close")
		}
	})
}

// readUntil reads up to and including text, byte by byte.
func readUntil(t testing.TB, r io.Reader, text string) string {
	t.Helper()
	var b []byte
	for !bytes.HasSuffix(b, []byte(text)) {
		var p [1]byte
		if _, err := io.ReadFull(r, p[:]); err != nil {
			t.Fatalf("%q, then %v", b, err)
		}
		b = append(b, p[0])
	}
	return string(b)
}

// After a part of 100 Continue is sent, the connection must not send a response.
func TestExpireDuringContinue(t *testing.T) {
	for _, sent := range []int{0, 5} {
		s := newSetup(t, true)
		conn, client := s.pair()
		client.send("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
		if err := conn.Fill(); err != nil || conn.Want() != Write {
			t.Fatal(err, conn.Want())
		}
		conn.ex.outSent = sent // as if the send queue were full now
		conn.Expire()
		drive1(t, conn, client)
		got := answers(t, client.all())
		if sent > 0 && len(got) > 0 || sent == 0 && (len(got) != 1 || got[0].status != 408) {
			t.Errorf("after %d bytes of 100 Continue: %q", sent, got)
		}
		if n := len(s.journal().entries); (n == 1) != (sent == 0) {
			t.Errorf("after %d bytes of 100 Continue, the log has %q", sent, s.journal().entries)
		}
	}
}

// drive1 serves a connection to its end after its client has shut down its sending side.
func drive1(t *testing.T, conn *Conn, client *client) {
	t.Helper()
	client.endSending()
	conn.Ready()
	if err := drive(conn); err != nil {
		t.Error(err)
	}
}

func TestIdleConnectionHoldsNothing(t *testing.T) {
	s := newSetup(t, true)
	conn, client := s.pair()
	defer conn.Close()
	step := func(send string) {
		t.Helper()
		client.send(send)
		conn.Ready()
		if err := serve(conn); err != sock.ErrAgain {
			t.Fatal(err)
		}
	}
	step("")
	if conn.ex != nil {
		t.Error("a new silent connection holds an exchange")
	}
	step("GET")
	if conn.ex == nil {
		t.Error("a request under way holds no exchange")
	}
	step(get("/a")[3:])
	if conn.ex != nil {
		t.Error("an answered connection holds an exchange")
	}
	if class, _ := conn.Deadline(); class != ClassIdle || conn.Want() != Read {
		t.Errorf("class %v, want %v", class, conn.Want())
	}
	body := post("/a", strings.Repeat("x", 100_000))
	step(body[:50_000])
	ex := conn.ex
	step(body[50_000:])
	if conn.ex != nil {
		t.Error("an answered connection holds an exchange")
	}
	if n := ex.in.Cap(); n > baseBuffer {
		t.Errorf("the pool keeps a buffer of %d bytes", n)
	}
	if n := s.cfg.memory.Load(); n != 0 {
		t.Errorf("%d bytes are still counted in memory", n)
	}
	wantAnswers(t, answers(t, client.here()), "200 GET /a", "200 POST /a "+strings.Repeat("x", 100_000))
}

func TestIdleBlockingConnectionHoldsNothing(t *testing.T) {
	s := newSetup(t, false)
	s.cfg.IdleTimeout = time.Millisecond
	conn, client := s.pair()
	defer conn.Close()
	client.send(get("/a"))
	if err := serve(conn); err != nil { // until the idle time-out
		t.Fatal(err)
	}
	if conn.ex != nil {
		t.Error("an idle connection holds an exchange")
	}
}

func TestBudget(t *testing.T) {
	s := newSetup(t, true)
	conn, client := s.pair()
	defer conn.Close()
	client.send(get("/a") + get("/b"))
	queued := func() int {
		n, err := conn.sock.Unread()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	all := queued()
	conn.SetBudget(0)
	if err := serve(conn); err != ErrBudget || queued() != all || conn.Want() != Read {
		t.Errorf("a budget of 0: %v, %d of %d bytes unread", err, queued(), all)
	}
	conn.SetBudget(1)
	if err := serve(conn); err != ErrBudget || queued() != 0 || conn.Want() != Write {
		t.Errorf("a budget of 1: %v, %d bytes unread", err, queued())
	}
	if got := client.here(); got != "" {
		t.Errorf("sent without a budget: %q", got)
	}
	conn.SetBudget(1)
	if err := serve(conn); err != ErrBudget || conn.Want() != Read {
		t.Errorf("the second budget: %v", err)
	}
	wantAnswers(t, answers(t, client.here()), "200 GET /a", "200 GET /b") // they share one send
	conn.SetBudget(1)
	if err := serve(conn); err != sock.ErrAgain && err != ErrBudget {
		t.Errorf("the third budget: %v", err)
	}

	// A response that is larger than onePiece needs two calls.
	s.cfg.Handler = func(w *Response, _ *Request) { w.Bytes(make([]byte, onePiece+1)) }
	client.send(strings.Repeat(get("/c"), 4))
	conn.Ready()
	budgets := 0
	for ; ; budgets++ {
		conn.SetBudget(2)
		if err := serve(conn); err == sock.ErrAgain {
			break
		} else if err != ErrBudget {
			t.Fatal(err)
		}
	}
	if got := len(answers(t, client.here())); got != 4 || budgets != 4 { // one read and eight writes
		t.Errorf("%d responses with %d budgets of 2, want 4 with 4", got, budgets)
	}
}

func TestPanic(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		s := newSetup(t, nonblocking)
		file := newFile(t, []byte("lost"))
		s.cfg.Handler = func(w *Response, r *Request) {
			if string(r.Path) == "/panic" {
				w.File(file, 0, 4)
			}
			echo(w, r)
		}
		conn, client := s.pair()
		done := background(conn)
		client.send(get("/panic") + lastRequest)
		got := answers(t, client.all())
		if err := <-done; err != nil {
			t.Error(err)
		}
		wantAnswers(t, got, "500 500 Internal Server Error\n", "200 GET /last")
		if got[0].header.Get("X-Lost") != "" {
			t.Error("the 500 has a header field of the dropped response")
		}
		if p := s.journal().panics; !slices.Equal(p, []string{"on purpose"}) {
			t.Errorf("panics in the log: %q", p)
		}
		if file.released != 1 {
			t.Errorf("the file was released %d times, want 1", file.released)
		}
	})
	s := newSetup(t, true) // the same without a log
	s.cfg.Log = nil
	conn, client := s.pair()
	client.send(get("/panic"))
	drive1(t, conn, client)
	wantAnswers(t, answers(t, client.all()), "500 500 Internal Server Error\n")
}

func TestFilesAreReleasedOnce(t *testing.T) {
	for _, c := range []struct {
		name    string
		request string
		handler func(w *Response, f *counted)
		files   int
		body    string
	}{
		{"sent", get("/"), func(w *Response, f *counted) { w.File(f, 0, 5) }, 1, "01234"},
		{"sent twice", get("/"), func(w *Response, f *counted) { w.File(f, 0, 5); w.File(f, 7, 3) }, 2, "01234789"},
		{"no byte of it", get("/"), func(w *Response, f *counted) { w.File(f, 0, 0); w.File(f, 0, -1) }, 2, ""},
		{"HEAD", strings.Replace(get("/"), "GET", "HEAD", 1), func(w *Response, f *counted) { w.File(f, 0, 5) }, 1, ""},
		{"204", get("/"), func(w *Response, f *counted) { w.File(f, 0, 5); w.Status = 204 }, 1, ""},
		{"304", get("/"), func(w *Response, f *counted) { w.File(f, 0, 5); w.Status = 304 }, 1, ""},
		{"dropped by an error", get("/"), func(w *Response, f *counted) { w.File(f, 0, 5); w.Error(404, ""); w.Error(403, "") }, 1, "403 Forbidden\n"},
		{"added after an error", get("/"), func(w *Response, f *counted) { w.Error(404, ""); w.File(f, 0, 2) }, 1, "404 Not Found\n01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, nonblocking bool) {
				s := newSetup(t, nonblocking)
				file := newFile(t, []byte("0123456789"))
				s.cfg.Handler = func(w *Response, _ *Request) { c.handler(w, file) }
				conn, client := s.pair()
				done := background(conn)
				client.send(c.request)
				client.endSending()
				got := answers(t, client.all(), strings.Fields(c.request)[0])
				if err := <-done; err != nil {
					t.Error(err)
				}
				if len(got) != 1 || got[0].body != c.body {
					t.Errorf("got %q, want a body %q", got, c.body)
				}
				if file.released != c.files {
					t.Errorf("the file was released %d times, want %d", file.released, c.files)
				}
			})
		})
	}
}

// A client that closes while its file is sent ends the connection with an error.
func TestClientClosesDuringResponse(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		s := newSetup(t, nonblocking)
		file := newFile(t, make([]byte, 4<<20))
		s.cfg.Handler = func(w *Response, _ *Request) {
			w.Bytes([]byte("first"))
			w.File(file, 0, 4<<20)
			w.File(file, 0, 1)
		}
		conn, client := s.pair()
		done := background(conn)
		client.send(get("/"))
		readUntil(t, client, "first")
		client.Close()
		if err := <-done; !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the connection ended with %v", err)
		}
		if file.released != 2 {
			t.Errorf("the file was released %d times, want 2", file.released)
		}
		if got := s.journal().entries; !slices.Equal(got, []string{"GET / HTTP/1.1 200 cut"}) {
			t.Errorf("log: %q", got)
		}
		if conn.ex != nil {
			t.Error("a closed connection holds an exchange")
		}
	})
}

func TestShrunkFile(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		s := newSetup(t, nonblocking)
		file := newFile(t, []byte("0123456789"))
		s.cfg.Handler = func(w *Response, _ *Request) {
			w.File(file, 0, 10)
			file.f.Truncate(4)
		}
		conn, client := s.pair()
		done := background(conn)
		client.send(get("/") + get("/"))
		got := client.all()
		client.Close()
		if err := <-done; err != nil {
			t.Errorf("the connection ended with %v", err)
		}
		head, body, _ := strings.Cut(got, "\r\n\r\n")
		if !strings.HasSuffix(head, "Content-Length: 10") || body != "0123" {
			t.Errorf("%q: want Content-Length 10, and only the 4 bytes of the file", got)
		}
		if !slices.Equal(s.journal().entries, []string{"GET / HTTP/1.1 200 cut"}) || file.released != 1 {
			t.Errorf("log %q, released %d times", s.journal().entries, file.released)
		}
	})
}

// Bodies of bytes, built text and files arrive whole through a small send queue.
func TestParts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	both(t, func(t *testing.T, nonblocking bool) {
		file := newFile(t, data)
		for round := range 20 {
			s := newSetup(t, nonblocking)
			s.sendBuffer = 1 // the smallest that the kernel has
			var want []byte
			files := 0
			file.released = 0
			s.cfg.Handler = func(w *Response, _ *Request) {
				for range 1 + rnd.IntN(6) {
					n := rnd.IntN(1 << rnd.IntN(18))
					off := rnd.IntN(len(data) - n)
					piece := data[off : off+n]
					switch rnd.IntN(3) {
					case 0:
						w.Bytes(piece)
					case 1:
						w.Built(append(w.Build(), piece...))
					case 2:
						w.File(file, int64(off), int64(n))
						files++
					}
					want = append(want, piece...)
				}
			}
			conn, client := s.pair()
			done := background(conn)
			client.send(get("/") + strings.Replace(get("/"), "GET", "HEAD", 1) + get("/"))
			client.endSending()
			text := client.all()
			if err := <-done; err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			got := answers(t, text, "GET", "HEAD")
			if len(got) != 3 {
				t.Fatalf("round %d: %d answers", round, len(got))
			}
			headOnly := int(parseLength(t, got[1]))
			first := len(got[0].body)
			if headOnly+first+len(got[2].body) != len(want) || got[0].body != string(want[:first]) || got[2].body != string(want[first+headOnly:]) {
				t.Fatalf("round %d: the bytes differ from those that the handler described", round)
			}
			if file.released != files {
				t.Fatalf("round %d: %d files described, %d released", round, files, file.released)
			}
		}
	})
}

func parseLength(t *testing.T, a answer) (n int64) {
	t.Helper()
	if _, err := fmt.Sscan(a.header.Get("Content-Length"), &n); err != nil {
		t.Fatalf("%v: %v", a.header, err)
	}
	return n
}

// A response head and a small body leave with one system call.
func TestOnePiece(t *testing.T) {
	s := newSetup(t, true)
	conn, client := s.pair()
	defer conn.Close()
	client.send(get("/a"))
	conn.SetBudget(2) // one read, one write
	if err := serve(conn); err != ErrBudget {
		t.Fatal(err)
	}
	wantAnswers(t, answers(t, client.here()), "200 GET /a")
	s.cfg.Handler = func(w *Response, _ *Request) { w.Bytes(make([]byte, onePiece)) }
	client.send(get("/a"))
	conn.Ready()
	conn.SetBudget(3) // this body needs a second write
	if err := serve(conn); err != ErrBudget && err != sock.ErrAgain {
		t.Fatal(err)
	}
	if got := answers(t, client.here()); len(got) != 1 || len(got[0].body) != onePiece {
		t.Errorf("%d answers", len(got))
	}
}

// The memory of all requests together is limited.
func TestMemoryIsBounded(t *testing.T) {
	s := newSetup(t, true)
	const clients = 80
	body := strings.Repeat("x", 1<<20)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(body)-1, body[:len(body)-1])
	var conns []*Conn
	refused := 0
	for i := range clients {
		conn, client := s.pair()
		conns = append(conns, conn)
		text := with("Content-Length: 1048576\r\n\r\n") + body[:len(body)-1]
		if i%2 == 0 {
			text = chunks(chunk)
		}
		raw := clientFD(t, client)
		for len(text) > 0 && !conn.refused {
			n, err := unix.Write(raw, []byte(text))
			if n <= 0 {
				t.Fatal(err)
			}
			text = text[n:]
			conn.Ready()
			if err := serve(conn); err != sock.ErrAgain {
				t.Fatalf("client %d: %v", i, err)
			}
		}
		if total := s.cfg.memory.Load(); total > maxMemory+2<<20 {
			t.Fatalf("%d bytes are counted in memory", total)
		}
		if !conn.refused {
			continue
		}
		refused++
		wantAnswers(t, answers(t, client.here()), "503 503 Service Unavailable: too many large requests at once\n")
	}
	if refused < 5 || refused > 60 {
		t.Errorf("%d of %d refused", refused, clients)
	}
	conn, client := s.pair() // small requests are still served
	client.send(get("/a") + post("/b", "small"))
	if err := serve(conn); err != sock.ErrAgain {
		t.Error(err)
	}
	wantAnswers(t, answers(t, client.here()), "200 GET /a", "200 POST /b small")
	for _, c := range append(conns, conn) {
		c.Close()
	}
	if n := s.cfg.memory.Load(); n != 0 {
		t.Errorf("%d bytes are still accounted for", n)
	}
	for range clients {
		ex, ok := s.cfg.exchanges.Get().(*exchange)
		if !ok {
			break
		}
		if ex.in.Cap() > baseBuffer || cap(ex.parser.body) > baseBuffer || cap(ex.out) > keepBuffer || cap(ex.res.arena) > keepBuffer {
			t.Error("the pool keeps large memory")
		}
	}
}

func TestDateIsFormattedAnew(t *testing.T) {
	w := newSetup(t, true).worker
	first := string(w.date(now()))
	if _, err := time.Parse(IMFFixdate, first); err != nil {
		t.Error(err)
	}
	if ends := time.Until(time.Now().Truncate(time.Second).Add(time.Second)); w.dateEnds > now()+int64(ends)+int64(time.Second) {
		t.Errorf("the date is used for %v, although its second ends in %v", time.Duration(w.dateEnds-now()), ends)
	}
	w.dateText = [len(IMFFixdate)]byte{}
	if second := string(w.date(w.dateEnds)); len(second) != len(first) || second[:4] != time.Now().UTC().Format("Mon,") {
		t.Errorf("%q, then %q", first, second)
	}
}

// The garbage collector frees the exchanges in the pool.
func TestPoolIsEmptied(t *testing.T) {
	s := newSetup(t, true)
	const clients = 100
	var conns []*Conn
	freed := make(chan bool, clients)
	for range clients {
		conn, client := s.pair()
		step(t, conn, client, "GET")
		runtime.SetFinalizer(conn.ex, func(*exchange) { freed <- true })
		conns = append(conns, conn)
	}
	for _, c := range conns {
		c.Close()
	}
	for range clients {
		for got := false; !got; {
			runtime.GC() // the second collection empties a sync.Pool
			select {
			case got = <-freed:
			default:
				runtime.Gosched()
			}
		}
	}
}

// stopwatch is a Logger that keeps the duration of requests.
type stopwatch struct{ took []time.Duration }

func (s *stopwatch) Log(e *Entry)      { s.took = append(s.took, e.Took) }
func (s *stopwatch) Panic(any, []byte) {}

// Entry.Took lasts from the first byte of a request to the end of its response. It includes neither
// the idle time before nor the time of another request in the same segment.
func TestTook(t *testing.T) {
	s := newSetup(t, true)
	var log stopwatch
	s.cfg.Log = &log
	conn, client := s.pair()
	defer conn.Close()
	feed := func(send string) (begin, end time.Time) {
		begin = time.Now()
		client.send(send)
		conn.Ready()
		if err := serve(conn); err != sock.ErrAgain {
			t.Fatalf("serve: %v", err)
		}
		return begin, time.Now()
	}
	pause := func() { time.Sleep(5 * time.Millisecond) } // a time that Took must include, or must not
	want := func(what string, least, most time.Duration) {
		t.Helper()
		if len(log.took) == 0 {
			t.Fatalf("%s: the log is empty", what)
		}
		if got := log.took[0]; got < least || got > most {
			t.Errorf("%s took %v, want %v to %v", what, got, least, most)
		}
		log.took = log.took[1:]
	}
	const whole = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	pause()
	begin, came := feed(whole[:1])
	pause()
	last, end := feed(whole[1:])
	want("a request in two pieces", last.Sub(came), end.Sub(begin))
	pause()
	begin, end = feed(whole)
	want("a request after an idle time", 0, end.Sub(begin))
	begin, came = feed(whole + whole + whole[:1])
	want("the first of three requests", 0, came.Sub(begin))
	want("the second", 0, came.Sub(begin))
	pause()
	last, end = feed(whole[1:])
	want("the third, of which a part came with them", last.Sub(came), end.Sub(begin))
}

// The phrases are those of RFC 9110 §15 and RFC 6585 §5.
func TestStatusText(t *testing.T) {
	for status, want := range map[int]string{
		200: "OK", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently", 304: "Not Modified",
		400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout",
		412: "Precondition Failed", 413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable",
		417: "Expectation Failed", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
		501: "Not Implemented", 503: "Service Unavailable", 505: "HTTP Version Not Supported", 299: "Status",
	} {
		if got := StatusText(status); got != want {
			t.Errorf("%d %q, want %q", status, got, want)
		}
	}
}

// TestMoreFollows looks after each call at the bytes that the kernel holds back (MSG_MORE). It must hold
// the bytes of a call back if another part of the response follows in memory, and otherwise send them at once:
// sendfile(2) has no such flag, and sends the bytes that were held back before it.
func TestMoreFollows(t *testing.T) {
	for _, c := range []struct {
		name, request string
		files         bool
		held          []bool // after each call
	}{
		{"one call", get("/"), false, []bool{false}},
		{"head, file, bytes, file, bytes", get("/"), true, []bool{true, false, true, false, false}},
		{"100 Continue", "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", true, []bool{false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []bool
			for range 5 { // after 200 ms the kernel sends bytes that it has held back, and this thread may be late
				if got = heldBack(t, c.request, c.files, len(c.held)); slices.Equal(got, c.held) {
					return
				}
			}
			t.Errorf("the kernel holds bytes back after each call: %v, want %v", got, c.held)
		})
	}
}

// heldBack sends a request, and makes some calls for the response. It returns for each whether the kernel holds bytes
// back after it.
func heldBack(t *testing.T, request string, files bool, calls int) (held []bool) {
	s := newSetup(t, true)
	file := newFile(t, []byte("0123456789"))
	s.cfg.Handler = func(w *Response, _ *Request) {
		w.Bytes([]byte("first"))
		if files {
			w.File(file, 0, 5)
			w.Bytes([]byte("second"))
			w.File(file, 5, 5)
			w.Bytes([]byte("third"))
		}
	}
	conn, client := s.tcp(time.Minute)
	defer conn.Close()
	client.send(request)
	if _, err := sock.Poll([]unix.PollFd{{Fd: int32(conn.FD()), Events: unix.POLLIN}}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	serveCalls(t, conn, 1) // the read
	for range calls {
		serveCalls(t, conn, 1)
		unsent, err := unix.IoctlGetInt(conn.sock.FD(), unix.SIOCOUTQNSD)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, unsent > 0)
	}
	return held
}

// TestLargeFileInSteps checks that one call sends at most sendfileStep bytes of a file, even if the client takes more.
func TestLargeFileInSteps(t *testing.T) {
	const size = 3*sendfileStep + 1
	s := newSetup(t, false)
	file := newFile(t, make([]byte, size))
	s.cfg.Handler = func(w *Response, _ *Request) { w.File(file, 0, size) }
	conn, client := s.pair()
	client.send(get("/"))
	client.endSending()
	received := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, client)
		received <- n
	}()
	calls := 0
	for before := int64(0); conn.state != closed; before = conn.sent {
		conn.SetBudget(1)
		if err := serve(conn); err != nil && err != ErrBudget {
			t.Fatal(err)
		}
		if n := conn.sent - before; n > sendfileStep {
			t.Errorf("one call sends %d bytes, want at most %d", n, sendfileStep)
		}
		calls++
	}
	conn.Close()
	if n := <-received; n <= size || calls < 5 { // a read, the head, and four steps
		t.Errorf("the client has %d bytes after %d calls, want the head and %d bytes", n, calls, size)
	}
}
