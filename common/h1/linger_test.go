package h1

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// bulk is the size of a body that the kernel takes completely even if the client does not read.
const bulk = 300_000

// sendBulk responds with bulk bytes. For /close it also closes the connection.
func sendBulk(w *Response, r *Request) {
	w.Bytes(bytes.Repeat([]byte("0123456789"), bulk/10))
	if string(r.Path) == "/close" {
		w.Close()
	}
}

// newBulk returns a non-blocking connection that has sent the response to path. Its client has
// read nothing.
func newBulk(t *testing.T, path string) (*setup, *Conn, *client) {
	t.Helper()
	s := newSetup(t, true)
	s.cfg.Handler = sendBulk
	conn, client := s.tcp(time.Minute)
	client.send(get(path))
	awaitReadable(t, conn)
	if err := serve(conn); err != sock.ErrAgain || conn.Want() != Read {
		t.Fatalf("%v, want %v: the kernel does not take %d bytes", err, conn.Want(), bulk)
	}
	return s, conn, client
}

// awaitReadable waits until the connection has something to read.
func awaitReadable(t *testing.T, conn *Conn) {
	t.Helper()
	if n, err := sock.Poll([]unix.PollFd{{Fd: int32(conn.sock.FD()), Events: unix.POLLIN}}, 10*time.Second); n != 1 || err != nil {
		t.Fatalf("no bytes arrive: %d, %v", n, err)
	}
	conn.Ready()
}

// wantBulk checks that the client gets the whole response and the end of the stream.
func wantBulk(t *testing.T, client *client) {
	t.Helper()
	b, err := io.ReadAll(client)
	if err != nil {
		t.Errorf("after %d bytes: %v", len(b), err)
	}
	_, body, ok := strings.Cut(string(b), "\r\n\r\n")
	if !ok || len(body) != bulk {
		t.Errorf("the client gets %d of %d bytes", len(body), bulk)
	}
}

// A client that sends more bytes before it has read the last response still gets the whole
// response. Some clients send CR LF after a request.
func TestLinger(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		for name, send := range map[string]func(c *client){
			"nothing":        func(*client) {},
			"two bytes":      func(c *client) { c.send("\r\n") },
			"an urgent byte": func(c *client) { unix.Sendto(clientFD(c.t, c), []byte("!"), unix.MSG_OOB, nil) },
			"the end":        func(c *client) { c.endSending() },
			"bytes and end":  func(c *client) { c.send("\r\n"); c.endSending() },
		} {
			t.Run(name, func(t *testing.T) {
				s := newSetup(t, nonblocking)
				s.cfg.Handler = sendBulk
				conn, client := s.tcp(time.Minute)
				done := background(conn)
				client.send(get("/close"))
				untilShutdown(t, client)
				send(client)
				wantBulk(t, client)
				client.Close()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// untilShutdown waits until the server has sent the whole response and its FIN. The client
// does not read them: its small window keeps the FIN from arriving.
func untilShutdown(t *testing.T, client *client) {
	t.Helper()
	p := make([]byte, 1)
	for { // the server sends the response with one call, so after the first line its kernel has all
		if _, err := client.Read(p); err != nil {
			t.Fatal(err)
		}
		if p[0] == '\n' {
			return
		}
	}
}

// A client that reads nothing is aborted after the write time-out, with a reset. Until then
// there are only a few probes.
func TestLingerIsBounded(t *testing.T) {
	for name, end := range map[string]bool{"lingering": false, "unheard": true} {
		t.Run(name, func(t *testing.T) {
			s, conn, client := newBulk(t, "/close")
			if end {
				client.endSending()
				awaitReadable(t, conn)
				if err := serve(conn); err != sock.ErrAgain || conn.FD() != -1 {
					t.Fatalf("%v, descriptor %d: epoll would report the end of the stream forever", err, conn.FD())
				}
			}
			settle(t, conn, func() { conn.Expire() })
			untilAcknowledged(t, conn, client)
			age(conn, s.cfg.WriteTimeout)
			if conn.Expire(); conn.Want() != Read {
				t.Fatal("aborted although the client reads")
			}
			settle(t, conn, func() { conn.Expire() })
			asked, waited := 0, time.Duration(0)
			for ; conn.Want() == Read; asked++ {
				left := conn.left()
				age(conn, left) // until the Deadline
				waited += left
				conn.Expire()
			}
			if waited < s.cfg.WriteTimeout-time.Second || waited > s.cfg.WriteTimeout+time.Second || asked > 300 {
				t.Errorf("aborted after %d probes and %v, want at most 300 and %v", asked, waited, s.cfg.WriteTimeout)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if _, err := io.Copy(io.Discard, client); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client sees %v, want a reset", err)
			}
		})
	}
}

// A connection in the state unheard notices a reset, although no event reports it.
func TestUnheardReset(t *testing.T) {
	_, conn, client := newBulk(t, "/close")
	defer conn.Close()
	client.endSending()
	awaitReadable(t, conn)
	if err := serve(conn); err != sock.ErrAgain || conn.FD() != -1 {
		t.Fatalf("%v, descriptor %d", err, conn.FD())
	}
	fd := conn.sock.FD()
	client.Close() // the client has unread bytes, so its kernel sends a reset
	if n, err := sock.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLERR}}, 10*time.Second); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	for deadline := time.Now().Add(10 * time.Second); conn.Want() != Close; conn.Expire() {
		if time.Now().After(deadline) {
			t.Fatal("the connection does not notice the reset")
		}
	}
}

// The idle time begins when the client has acknowledged the response, not when the kernel has
// taken it.
func TestIdleBeginsWhenAcknowledged(t *testing.T) {
	s, conn, client := newBulk(t, "/")
	defer conn.Close()
	differ(s)
	if class, _ := conn.Deadline(); class != ClassProbeSoon {
		t.Fatalf("class %v", class)
	}
	if conn.Move(s.cfg.NewWorker()) {
		t.Error("a connection moves before it is idle")
	}
	for range probesSoon {
		conn.Expire()
	}
	if class, _ := conn.Deadline(); class != ClassProbe {
		t.Errorf("class %v after %d probes, want %v", class, probesSoon, ClassProbe)
	}
	age(conn, s.cfg.IdleTimeout) // shorter than the write time-out, which is running
	conn.Expire()
	if conn.Want() != Read {
		t.Fatal("closed while the client reads")
	}
	readBulk(t, client)
	for deadline := time.Now().Add(10 * time.Second); ; conn.Expire() {
		if class, _ := conn.Deadline(); class == ClassIdle {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the connection does not become idle")
		}
	}
	wantClass(t, conn, ClassIdle, time.Hour)
	step(t, conn, client, get("/")) // requests are served from both states
	readBulk(t, client)
	step(t, conn, client, get("/close"))
	readBulk(t, client)
}

// readBulk reads one response.
func readBulk(t *testing.T, client *client) {
	t.Helper()
	head := readUntil(t, client, "\r\n\r\n")
	if _, err := io.CopyN(io.Discard, client, bulk); err != nil {
		t.Fatalf("%q: %v", head, err)
	}
}

// Small responses need no probes, however many there are.
func TestSmallResponsesAreIdleAtOnce(t *testing.T) {
	s := newSetup(t, true)
	conn, client := s.tcp(time.Minute)
	defer conn.Close()
	for range 1000 {
		step(t, conn, client, get("/a"))
		if class, _ := conn.Deadline(); class != ClassIdle || conn.ex != nil {
			t.Fatalf("class %v", class)
		}
	}
}

// After a stop, the end of the stream or the idle time-out, the client still gets the rest of a
// response.
func TestLeaveWhileUnacknowledged(t *testing.T) {
	for name, leave := range map[string]func(s *setup, conn *Conn, c *client){
		"stop": func(s *setup, conn *Conn, _ *client) {
			off := newSwitch(s.t.(*testing.T))
			s.cfg.Stop = off
			off.stop()
		},
		"end of the stream": func(_ *setup, _ *Conn, c *client) { c.endSending() },
	} {
		t.Run(name, func(t *testing.T) {
			s, conn, client := newBulk(t, "/")
			leave(s, conn, client)
			if name != "stop" {
				awaitReadable(t, conn)
			}
			conn.Ready() // as an event loop does
			done := background(conn)
			if name == "stop" {
				client.send("\r\n")
			}
			wantBulk(t, client)
			client.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("idle time-out", func(t *testing.T) { // many small responses may be unacknowledged
		s := newSetup(t, true)
		s.cfg.Handler = func(w *Response, _ *Request) { w.Bytes(make([]byte, 1000)) }
		conn, client := s.tcp(time.Minute)
		client.send(strings.Repeat(get("/"), bulk/1000))
		for conn.sent < bulk {
			awaitReadable(t, conn)
			if err := serve(conn); err != sock.ErrAgain {
				t.Fatal(err)
			}
		}
		settle(t, conn, func() {})
		age(conn, s.cfg.IdleTimeout)
		conn.Expire()
		if conn.Want() != Read || conn.state != lingering {
			t.Fatalf("want %v in state %v", conn.Want(), conn.state)
		}
		done := background(conn)
		client.send("\r\n")
		if b, err := io.ReadAll(client); len(b) < bulk || err != nil {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		client.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// After a small response, the connection is closed at once, without lingering.
func TestPlainClose(t *testing.T) {
	s := newSetup(t, true)
	conn, client := s.tcp(time.Minute)
	defer conn.Close()
	client.send(lastRequest)
	awaitReadable(t, conn)
	if err := serve(conn); err != nil || conn.Want() != Close {
		t.Errorf("%v, want %v", err, conn.Want())
	}
}

// An idle connection holds no exchange, even if its budget ended with its last response.
func TestBudgetEndsWithResponse(t *testing.T) {
	for _, budget := range []int{2, 3, 4, 5, 6, 7} {
		s := newSetup(t, true)
		conn, client := s.pair()
		client.send(strings.Repeat(get("/a"), 5))
		conn.Ready()
		for range 6 {
			conn.SetBudget(budget)
			if err := serve(conn); err == sock.ErrAgain {
				break
			} else if err != ErrBudget {
				t.Fatal(err)
			}
			if conn.Want() == Read {
				break // an event loop would wait now, perhaps forever
			}
		}
		if conn.Want() == Read && conn.ex != nil {
			t.Errorf("a budget of %d: an idle connection holds an exchange", budget)
		}
		conn.Close()
	}
}

// A server that is late at a time-out reads the bytes that have arrived. If the request is
// complete then, it is answered.
func TestLateServerReadsOnce(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		for _, c := range []struct{ name, before, after, want string }{
			{"head", "GET /a HTT", "P/1.1\r\nHost: h\r\n\r\n", "200 GET /a"},
			{"body", with("Content-Length: 3\r\n\r\na"), "bc", "200 POST / abc"},
			{"chunks", chunks("1\r\na\r\n"), "2\r\nbc\r\n0\r\n\r\n", "200 POST / abc"},
			{"large body", with("Content-Length: 100000\r\n\r\n"), strings.Repeat("x", 100_000), "200 POST / " + strings.Repeat("x", 100_000)},
			{"head and no body", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n", "\r\n", ""},
			{"half a head", "GET /a HTT", "P/1.1\r\n", "408"},
			{"half a body", with("Content-Length: 3\r\n\r\na"), "b", "408"},
			{"nothing", "GET /a HTT", "", "408"},
		} {
			t.Run(c.name, func(t *testing.T) {
				s := newSetup(t, nonblocking)
				conn, client := s.tcp(time.Minute)
				client.send(c.before)
				awaitReadable(t, conn)
				if err := conn.Fill(); err != nil {
					t.Fatal(err)
				}
				client.send(c.after)
				for n, deadline := 0, time.Now().Add(10*time.Second); n < len(c.after); n, _ = conn.sock.Unread() {
					if time.Now().After(deadline) {
						t.Fatalf("only %d of %d bytes arrive", n, len(c.after))
					}
				}
				age(conn, time.Hour)
				conn.Expire()
				if c.want == "" {
					wantClass(t, conn, ClassBody, s.cfg.BodyTimeout) // the body has its whole time-out
					conn.Close()
					return
				}
				if conn.Want() != Write {
					t.Fatalf("want %v", conn.Want())
				}
				done := background(conn)
				client.endSending()
				got := answers(t, client.all())
				if err := <-done; err != nil {
					t.Error(err)
				}
				if len(got) != 1 || !strings.HasPrefix(got[0].String(), c.want) {
					t.Errorf("response %.100q, want %.100q", got, c.want)
				}
			})
		}
	})
}

// Small requests are served even if the memory for large requests is used up, whichever exchange
// they get from the pool.
func TestSmallRequestsAreServedWithoutMemory(t *testing.T) {
	s := newSetup(t, true)
	medium := post("/m", strings.Repeat("x", 30_000))
	conn, client := s.pair()
	step(t, conn, client, medium) // its exchange is in the pool now
	client.here()
	s.cfg.memory.Store(maxMemory)
	for _, small := range []string{get("/a"), post("/b", "small"), chunks("5\r\nsmall\r\n0\r\n\r\n"), "GET /" + strings.Repeat("x", 8000) + " HTTP/1.1\r\nHost: h\r\n\r\n"} {
		conn, client := s.pair()
		step(t, conn, client, small)
		if got := answers(t, client.here()); len(got) != 1 || got[0].status != 200 {
			t.Errorf("%.40q: %.100q", small, got)
		}
		conn.Close()
	}
	for _, large := range []string{medium, chunks("7530\r\n" + strings.Repeat("x", 30_000)), "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 30_000) + "\r\n\r\n"} {
		conn, client := s.pair()
		step(t, conn, client, large)
		if got := answers(t, client.here()); len(got) != 1 || got[0].status != 503 {
			t.Errorf("%.40q: %.100q", large, got)
		}
		conn.Close()
	}
	if n := s.cfg.memory.Load(); n != maxMemory {
		t.Errorf("%d bytes are counted in memory, want %d", n, maxMemory)
	}
}

// TestLeaveAtTheLimit checks that exactly onePiece unacknowledged bytes need no lingering.
func TestLeaveAtTheLimit(t *testing.T) {
	s := newSetup(t, true)
	conn, _ := s.tcp(time.Minute)
	defer conn.Close()
	conn.sent = onePiece // leave asks the kernel only if there may be more
	if conn.leave(0); conn.state != closed {
		t.Errorf("state %v, want %v", conn.state, closed)
	}
}

// TestMemoryBudgetAtTheLimit checks that requests may hold exactly maxMemory together.
func TestMemoryBudgetAtTheLimit(t *testing.T) {
	half := with("Content-Length: 30000\r\n\r\n") + strings.Repeat("x", 29_000)
	s := newSetup(t, true)
	conn, client := s.pair()
	step(t, conn, client, half)
	growth := s.cfg.memory.Load()
	conn.Close()
	if growth == 0 {
		t.Fatal("the request needs no memory of the budget")
	}
	for over, want := range []int{200, 503} {
		s.cfg.memory.Store(maxMemory - growth + int64(over))
		conn, client := s.pair()
		step(t, conn, client, half)
		if want == 200 {
			step(t, conn, client, strings.Repeat("x", 1000))
		}
		if got := answers(t, client.here()); len(got) != 1 || got[0].status != want {
			t.Errorf("%d bytes over the limit: %.100q, want %d", over, got, want)
		}
		conn.Close()
	}
}
