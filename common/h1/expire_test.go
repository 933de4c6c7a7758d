package h1

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// step sends text from the client and serves a non-blocking connection until it would have to
// wait.
func step(t *testing.T, conn *Conn, client *client, send string) {
	t.Helper()
	client.send(send)
	conn.Ready()
	if err := serve(conn); err != sock.ErrAgain && err != nil {
		t.Fatal(err)
	}
}

// wantClass checks the class and the length of the time-out that is running. It returns the
// deadline.
func wantClass(t *testing.T, conn *Conn, class Class, length time.Duration) time.Time {
	t.Helper()
	got, at := conn.Deadline()
	if left := time.Until(at); got != class || left > length || left < length-30*time.Second {
		t.Errorf("class %v, %v left; want class %v of %v", got, left, class, length)
	}
	return at
}

// differ gives each class a different time-out.
func differ(s *setup) {
	s.cfg.IdleTimeout, s.cfg.HeaderTimeout = time.Hour, 2*time.Hour
	s.cfg.BodyTimeout, s.cfg.WriteTimeout = 3*time.Hour, 4*time.Hour
}

func TestDeadlines(t *testing.T) {
	s := newSetup(t, true)
	differ(s)
	conn, client := s.pair()
	defer conn.Close()
	idle := wantClass(t, conn, ClassIdle, time.Hour)
	step(t, conn, client, "\r\n")
	if at := wantClass(t, conn, ClassIdle, time.Hour); at != idle {
		t.Error("an empty line moves the idle deadline")
	}
	step(t, conn, client, "P")
	head := wantClass(t, conn, ClassHead, 2*time.Hour)
	step(t, conn, client, "OST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n")
	if at := wantClass(t, conn, ClassHead, 2*time.Hour); at != head {
		t.Error("more bytes of the head move its deadline")
	}
	step(t, conn, client, "\r\n")
	body := wantClass(t, conn, ClassBody, 3*time.Hour)
	step(t, conn, client, "ab")
	if at := wantClass(t, conn, ClassBody, 3*time.Hour); at != body {
		t.Error("more bytes of the body move its deadline")
	}
	conn.SetBudget(1)
	client.send("c")
	conn.Ready()
	if err := serve(conn); err != ErrBudget {
		t.Fatal(err)
	}
	wantClass(t, conn, ClassWrite, 15*time.Minute) // a sixteenth of the write time-out
	conn.SetBudget(100)
	if err := serve(conn); err != sock.ErrAgain {
		t.Fatal(err)
	}
	if at := wantClass(t, conn, ClassIdle, time.Hour); !at.After(idle) {
		t.Error("the idle time does not begin again after a response")
	}
	step(t, conn, client, "(")
	wantClass(t, conn, ClassDrain, drainTime)
}

func TestExpire(t *testing.T) {
	for _, c := range []struct {
		name, send string
		class      Class
		want       string // the status of the response, or "" for no response
		log        string
	}{
		{"a new connection", "", ClassIdle, "", ""},
		{"empty lines", "\r\n\r\n", ClassIdle, "", ""},
		{"after a response", get("/a"), ClassIdle, "", "GET /a HTTP/1.1 200"},
		{"one byte", "G", ClassHead, "408", "   408"},
		{"half a request line", "GET / HT", ClassHead, "408", "GET /  408"},
		{"all but the last byte", strings.TrimSuffix(get("/a"), "\n"), ClassHead, "408", "GET /a HTTP/1.1 408"},
		{"no body", with("Content-Length: 3\r\n\r\n"), ClassBody, "408", "POST / HTTP/1.1 408"},
		{"half a chunk", chunks("3\r\na"), ClassBody, "408", "POST / HTTP/1.1 408"},
		{"half a trailer", chunks("0\r\nA: "), ClassBody, "408", "POST / HTTP/1.1 408"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Run("nonblocking", func(t *testing.T) {
				s := newSetup(t, true)
				conn, client := s.pair()
				step(t, conn, client, c.send)
				before := client.here()
				if class, _ := conn.Deadline(); class != c.class {
					t.Fatalf("class %v, want %v", class, c.class)
				}
				conn.Expire()
				if c.want == "" && conn.Want() != Close {
					t.Fatalf("want %v", conn.Want())
				}
				drive1(t, conn, client)
				checkExpired(t, s, before, client.all(), c.want, c.log)
			})
			t.Run("blocking", func(t *testing.T) {
				s := newSetup(t, false)
				s.cfg.IdleTimeout, s.cfg.HeaderTimeout, s.cfg.BodyTimeout = time.Minute, time.Minute, time.Minute
				switch c.class {
				case ClassIdle:
					s.cfg.IdleTimeout = 20 * time.Millisecond
				case ClassHead:
					s.cfg.HeaderTimeout = 20 * time.Millisecond
				case ClassBody:
					s.cfg.BodyTimeout = 20 * time.Millisecond
				}
				conn, client := s.pair()
				client.send(c.send)
				done := background(conn)
				got := client.all()
				client.endSending()
				if err := <-done; err != nil {
					t.Error(err)
				}
				before := ""
				if strings.HasPrefix(c.log, "GET /a HTTP/1.1 200") {
					before, got = got, ""
				}
				checkExpired(t, s, before, got, c.want, c.log)
			})
		})
	}
}

// checkExpired checks the response to a time-out, and the log.
func checkExpired(t *testing.T, s *setup, before, got, want, log string) {
	t.Helper()
	if want == "" && got != "" {
		t.Errorf("the client gets %q after %q, want nothing", got, before)
	}
	if want != "" {
		a := answers(t, got)
		if len(a) != 1 || !strings.HasPrefix(a[0].String(), want) || a[0].header.Get("Connection") != "close" {
			t.Errorf("the client gets %q, want one %s with Connection: close", got, want)
		}
	}
	if all := strings.Join(s.journal().entries, "; "); all != log {
		t.Errorf("log %q, want %q", all, log)
	}
}

// A client that keeps sending a few bytes must time out. Otherwise it could hold a thread
// forever.
func TestExpireWhileBytesKeepComing(t *testing.T) {
	for begun, more := range map[string]string{"G": "E", chunks(""): "1;more\r\n"} {
		s := newSetup(t, false)
		conn, client := s.pair()
		client.send(begun)
		if err := conn.Fill(); err != nil || conn.Want() != Read {
			t.Fatal(err, conn.Want())
		}
		client.send(more)
		conn.since -= int64(time.Hour) // as if the request had begun an hour ago
		if err := conn.Fill(); err != nil || conn.Want() != Write {
			t.Fatalf("%v, want %v: the request does not time out", err, conn.Want())
		}
		client.endSending()
		if err := drive(conn); err != nil {
			t.Error(err)
		}
		if got := answers(t, client.all()); len(got) != 1 || got[0].status != 408 {
			t.Errorf("%q", got)
		}
	}
	s := newSetup(t, false) // an idle connection may have waited for a thread until now
	conn, client := s.pair()
	client.send(get("/a"))
	client.endSending()
	conn.since -= int64(time.Hour)
	if err := drive(conn); err != nil {
		t.Error(err)
	}
	wantAnswers(t, answers(t, client.all()), "200 GET /a")
}

// After a refusal the connection reads and drops bytes, up to a number of bytes and a time.
func TestDrain(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		s := newSetup(t, nonblocking)
		conn, client := s.pair()
		done := background(conn)
		client.send("(")
		answer := readUntil(t, client, "token\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
			t.Errorf("%q", answer)
		}
		if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the answer: %d, %v; want the end of the stream", n, err)
		}
		// The connection reads drainBytes. After more bytes it is closed.
		client.send(strings.Repeat(get("/more"), drainBytes/len(get("/more"))))
		n, err := io.Copy(client, io.LimitReader(endless{}, 64<<20))
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after %d more bytes: %v, want EPIPE or ECONNRESET", n, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := s.journal().entries; len(got) != 1 {
			t.Errorf("log %q", got)
		}
	})
	t.Run("time", func(t *testing.T) {
		s := newSetup(t, true)
		conn, client := s.pair()
		step(t, conn, client, "(")
		at := wantClass(t, conn, ClassDrain, drainTime)
		step(t, conn, client, "more")
		if again := wantClass(t, conn, ClassDrain, drainTime); again != at || conn.Want() != Read {
			t.Error("more bytes move the deadline")
		}
		conn.Expire() // on a socketpair, bytes are unacknowledged until the client reads them
		if conn.Want() != Read || conn.FD() != -1 {
			t.Errorf("want %v on descriptor %d", conn.Want(), conn.FD())
		}
		client.here()
		conn.Expire()
		if conn.Want() != Close {
			t.Errorf("want %v", conn.Want())
		}
		conn.Close()
	})
}

// endless is a Reader without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A client that sends many more bytes after a bad request can still read the answer. The test
// uses TCP, where a reset would overtake the answer.
func TestRefusalIsReadable(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		for range 20 {
			s := newSetup(t, nonblocking)
			conn, client := s.tcp(time.Minute)
			done := background(conn)
			client.send(with("Content-Length: 99999999\r\n\r\n") + strings.Repeat("x", 500_000))
			got := answers(t, client.all())
			client.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if len(got) != 1 || got[0].status != 413 {
				t.Fatalf("%q", got)
			}
		}
	})
}

// Bytes after a request with Connection: close do not make the client lose the response.
func TestCloseWithUnreadBytes(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		for _, more := range []string{"", "x", strings.Repeat("x", 100_000)} {
			s := newSetup(t, nonblocking)
			conn, client := s.tcp(time.Minute)
			done := background(conn)
			client.send(lastRequest + more)
			wantAnswers(t, answers(t, client.all()), "200 GET /last")
			client.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// untilAcknowledged makes the client read until the server's kernel has an acknowledgement.
func untilAcknowledged(t *testing.T, conn *Conn, client *client) {
	t.Helper()
	before, err := conn.sock.Unacked()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4096)
	for {
		if _, err := client.Read(p); err != nil {
			t.Fatal(err)
		}
		if now, _ := conn.sock.Unacked(); now < before {
			return
		}
	}
}

// settle calls again until the number of unacknowledged bytes no longer changes: the client's
// kernel then takes no more bytes until the client reads.
func settle(t *testing.T, conn *Conn, again func()) {
	t.Helper()
	for before := -1; ; {
		again()
		n, err := conn.sock.Unacked()
		if err != nil {
			t.Fatal(err)
		}
		if n == before {
			return
		}
		before = n
	}
}

const large = 16 << 20

func sendLarge(w *Response, _ *Request) { w.Bytes(make([]byte, large)) }

// age lets time pass for a connection, without waiting.
func age(conn *Conn, by time.Duration) {
	conn.since -= int64(by)
	conn.probedAt -= int64(by)
}

func TestWriteTimeout(t *testing.T) {
	t.Run("nonblocking", func(t *testing.T) {
		s := newSetup(t, true)
		s.cfg.Handler = sendLarge
		conn, client := s.tcp(time.Minute)
		step(t, conn, client, get("/"))
		settle(t, conn, func() {
			conn.Ready()
			if err := serve(conn); err != sock.ErrAgain {
				t.Fatal(err)
			}
			conn.Expire() // ask for the acknowledged bytes
		})
		for range 3 { // a client that reads slowly does not time out
			untilAcknowledged(t, conn, client)
			_, before := conn.Deadline()
			age(conn, s.cfg.WriteTimeout)
			conn.Expire()
			if _, after := conn.Deadline(); conn.Want() != Write || !after.After(before) {
				t.Fatalf("a client that reads is aborted: want %v", conn.Want())
			}
		}
		for asked := 1; conn.Want() == Write; asked++ { // at each Deadline
			if asked > 16 {
				t.Fatal("a client that does not read is not aborted")
			}
			age(conn, s.cfg.probeTime())
			if conn.Expire(); conn.Want() == Close && asked < 16 {
				t.Fatalf("aborted at probe %d, before the time-out is over", asked)
			}
		}
		conn.Close()
		if _, err := io.Copy(io.Discard, client); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client sees %v, want a reset", err)
		}
		if got := s.journal().entries; len(got) != 1 || got[0] != "GET / HTTP/1.1 200 cut" {
			t.Errorf("log %q", got)
		}
	})
	t.Run("blocking", func(t *testing.T) {
		s := newSetup(t, false)
		s.cfg.Handler = sendLarge
		conn, client := s.tcp(20 * time.Millisecond) // the time limit of one Flush
		client.send(get("/"))
		if err := conn.Fill(); err != nil {
			t.Fatal(err)
		}
		flush := func() {
			t.Helper()
			if err := conn.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, conn, flush)
		conn.progressed()
		for range 3 {
			untilAcknowledged(t, conn, client)
			age(conn, s.cfg.WriteTimeout)
			if flush(); conn.Want() != Write {
				t.Fatal("a client that reads is aborted")
			}
		}
		settle(t, conn, flush) // the bytes that the client has read may still make room
		if flush(); conn.Want() != Write {
			t.Fatal("aborted before the time-out is over")
		}
		age(conn, s.cfg.WriteTimeout)
		if flush(); conn.Want() != Close {
			t.Fatal("a client that does not read is not aborted")
		}
		conn.Close()
		if _, err := io.Copy(io.Discard, client); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client sees %v, want a reset", err)
		}
	})
}

// Bytes of earlier responses may be unacknowledged. A client that acknowledges these makes
// progress, even if it has acknowledged nothing of the response under way.
func TestWriteTimeoutAfterEarlierResponses(t *testing.T) {
	s := newSetup(t, false)
	s.cfg.Handler = func(w *Response, r *Request) {
		if string(r.Path) == "/small" {
			w.Bytes(make([]byte, 1000))
		} else {
			sendLarge(w, r)
		}
	}
	conn, client := s.tcp(20 * time.Millisecond)
	defer conn.Close()
	client.send(strings.Repeat(get("/small"), 1000) + get("/"))
	// The client reads none of the small responses.
	for conn.ex == nil || conn.ex.res.length < large || conn.Want() != Write {
		var err error
		if conn.Want() == Read {
			err = conn.Fill()
		} else {
			err = conn.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	conn.ex.sent = 0 // as if the kernel had taken nothing of the large response yet
	age(conn, s.cfg.WriteTimeout)
	conn.Expire()
	if conn.Want() != Write {
		t.Fatal("aborted at the first probe")
	}
	untilAcknowledged(t, conn, client)
	age(conn, s.cfg.WriteTimeout)
	conn.Expire()
	if conn.Want() != Write {
		t.Fatal("aborted although the client reads")
	}
}

// A slow client gets the whole response, however many time-outs that takes.
func TestSlowReader(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		const timeout = 300 * time.Millisecond
		s := newSetup(t, nonblocking)
		s.cfg.WriteTimeout = timeout
		file := newFile(t, bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16))
		s.cfg.Handler = func(w *Response, _ *Request) { w.File(file, 0, 8<<20) }
		conn, client := s.tcp(timeout)
		done := background(conn)
		client.send(get("/"))
		client.endSending()
		got := 0
		p := make([]byte, 256<<10)
		for {
			n, err := client.Read(p)
			got += n
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%d bytes, then %v", got, err)
			}
			if got < 1<<20 {
				time.Sleep(time.Millisecond) // the client is slow on purpose
			}
		}
		if err := <-done; err != nil || got <= 8<<20 {
			t.Errorf("%d bytes, %v", got, err)
		}
	})
}

// switchOff is a Stop that a test can begin.
type switchOff struct {
	stopping atomic.Bool
	r, w     int
}

func newSwitch(t *testing.T) *switchOff {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]) })
	return &switchOff{r: p[0], w: p[1]}
}

func (s *switchOff) Stopping() bool { return s.stopping.Load() }
func (s *switchOff) FD() int        { return s.r }
func (s *switchOff) stop()          { s.stopping.Store(true); unix.Close(s.w) }

func TestStop(t *testing.T) {
	both(t, func(t *testing.T, nonblocking bool) {
		for _, c := range []struct {
			name, before, after string
			want                []string
			closeOf             int // the response with Connection: close, or -1
		}{
			{"a new connection", "", "", nil, -1},
			{"empty lines", "\r\n", "", nil, -1},
			{"a head under way", "GET /a HTTP/1.1\r\n", "Host: h\r\n\r\n" + get("/b"), []string{"200 GET /a"}, 0},
			{"a body under way", with("Content-Length: 3\r\n\r\na"), "bc" + get("/b"), []string{"200 POST / abc"}, 0},
		} {
			t.Run(c.name, func(t *testing.T) {
				s := newSetup(t, nonblocking)
				off := newSwitch(t)
				s.cfg.Stop = off
				conn, client := s.pair()
				// Read before the stop by hand, so that it is certain what has been read.
				if c.before != "" {
					client.send(c.before)
					if err := conn.Fill(); err != nil {
						t.Fatal(err)
					}
				}
				off.stop()
				done := background(conn)
				if c.after != "" {
					client.send(c.after)
				}
				got := answers(t, client.all())
				client.endSending()
				if err := <-done; err != nil {
					t.Error(err)
				}
				wantAnswers(t, got, c.want...)
				for i, a := range got {
					if closes := a.header.Get("Connection") == "close"; closes != (i == c.closeOf) {
						t.Errorf("response %d has Connection: close: %v", i, closes)
					}
				}
			})
		}
		t.Run("a request that has arrived", func(t *testing.T) {
			s := newSetup(t, nonblocking)
			off := newSwitch(t)
			s.cfg.Stop = off
			conn, client := s.pair()
			client.send(get("/a"))
			off.stop()
			done := background(conn)
			got := answers(t, client.all())
			if err := <-done; err != nil {
				t.Error(err)
			}
			wantAnswers(t, got, "200 GET /a")
			if got[0].header.Get("Connection") != "close" {
				t.Error("the response has no Connection: close")
			}
		})
		t.Run("an idle connection", func(t *testing.T) {
			s := newSetup(t, nonblocking)
			off := newSwitch(t)
			s.cfg.Stop = off
			conn, client := s.pair()
			client.send(get("/a"))
			if nonblocking { // as an event loop does
				step(t, conn, client, "")
				off.stop()
				step(t, conn, client, "")
				if conn.Want() != Close {
					t.Errorf("want %v", conn.Want())
				}
				conn.Close()
				return
			}
			done := background(conn)
			readUntil(t, client, "GET /a")
			off.stop() // the pipe wakes poll(2), even if poll(2) begins later
			if got := client.all(); got != "" {
				t.Errorf("%q", got)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	})
}

func TestMove(t *testing.T) {
	s := newSetup(t, true)
	other := s.cfg.NewWorker()
	conn, client := s.pair()
	defer conn.Close()
	step(t, conn, client, get("/a")+"GET")
	if conn.Move(other) {
		t.Error("a connection moves with a request under way")
	}
	step(t, conn, client, get("/b")[3:])
	_, before := conn.Deadline()
	if !conn.Move(other) {
		t.Error("an idle connection does not move")
	}
	if _, after := conn.Deadline(); after != before {
		t.Error("the idle time begins again")
	}
	step(t, conn, client, get("/c"))
	wantAnswers(t, answers(t, client.here()), "200 GET /a", "200 GET /b", "200 GET /c")
	if conn.worker != other {
		t.Error("the connection has its old worker")
	}
	step(t, conn, client, "(")
	if conn.Move(other) {
		t.Error("a connection moves while draining")
	}
}

// A blocking sendfile(2) may wait for SO_SNDTIMEO several times. A client that reads nothing must still
// be aborted after one write time-out, which is 64 times SO_SNDTIMEO.
func TestWriteTimeoutOfSendfile(t *testing.T) {
	s := newSetup(t, false)
	s.cfg.WriteTimeout = 640 * time.Millisecond
	file := newFile(t, make([]byte, large))
	s.cfg.Handler = func(w *Response, _ *Request) { w.File(file, 0, large) }
	conn, client := s.tcp(s.cfg.SendTimeout())
	defer conn.Close()
	client.send(get("/"))
	if err := conn.Fill(); err != nil {
		t.Fatal(err)
	}
	start, calls := time.Now(), 0
	for ; conn.Want() == Write; calls++ {
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); conn.Want() != Close || took < s.cfg.WriteTimeout {
		t.Errorf("after %v the connection wants %v", took, conn.Want())
	}
	if calls > 64+16 { // the first calls fill the buffers
		t.Errorf("the client is aborted after %d calls", calls)
	}
}

// A client that does not read a 100 Continue has the whole body time-out, not only the time of one
// blocking send.
func TestContinueThatBlocks(t *testing.T) {
	s := newSetup(t, false)
	conn, client := s.pair()
	defer conn.Close()
	tv := unix.NsecToTimeval(int64(5 * time.Millisecond))
	if err := unix.SetsockoptTimeval(conn.FD(), unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
		t.Fatal(err)
	}
	for filler := make([]byte, 4096); ; { // fill the send queue
		if err := unix.Sendto(conn.FD(), filler, unix.MSG_DONTWAIT, nil); err == unix.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	client.send("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
	for call, f := range []func() error{conn.Fill, conn.Flush, conn.Flush} {
		if err := f(); err != nil || conn.Want() != Write || conn.state != continuing {
			t.Fatalf("call %d: %v, want %v, state %v", call, err, conn.Want(), conn.state)
		}
	}
	age(conn, s.cfg.BodyTimeout)
	if err := conn.Flush(); err != nil || conn.ex.res.Status != 408 {
		t.Errorf("%v, status %d, want 408", err, conn.ex.res.Status)
	}
}

// Unread bytes in the kernel also make a connection drain.
func TestCloseWithBytesInTheKernel(t *testing.T) {
	for more, want := range map[string]Want{"": Close, "x": Read} {
		s := newSetup(t, true)
		conn, client := s.pair()
		client.send(lastRequest)
		if err := conn.Fill(); err != nil {
			t.Fatal(err)
		}
		client.send(more)
		if err := conn.Flush(); err != nil || conn.Want() != want {
			t.Errorf("%q after the request: %v, Want is %v", more, err, conn.Want())
		}
		conn.Close()
	}
}

// A server that is late at an idle time-out answers a request that has arrived meanwhile. Without a
// request, it closes the connection.
func TestLateServer(t *testing.T) {
	s := newSetup(t, true)
	for _, asked := range []bool{true, false} {
		conn, client := s.tcp(time.Second)
		if err := serve(conn); err != sock.ErrAgain {
			t.Fatalf("a new connection: %v, want ErrAgain", err)
		}
		if asked {
			client.send(get("/"))
			n, err := sock.Poll([]unix.PollFd{{Fd: int32(conn.FD()), Events: unix.POLLIN}}, 10*time.Second)
			if n != 1 || err != nil {
				t.Fatalf("the request does not arrive: %d, %v", n, err)
			}
		}
		conn.Expire()
		err := serve(conn)
		switch {
		case asked && err != sock.ErrAgain:
			t.Errorf("with a request: %v, want a response and ErrAgain", err)
		case asked && client.here() == "":
			t.Error("with a request: no response")
		case !asked && err != nil:
			t.Errorf("without a request: %v, want the end", err)
		}
		conn.Close()
	}
}
