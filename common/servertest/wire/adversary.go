package wire

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"
)

// The client can send a request as a slow network or an attacker may: in pieces, late or byte by byte.
// TCP keeps no message boundaries, so the server must see the request as if it had been sent at once.

// SendPieces sends data in pieces, cut at the given positions. It waits until the server has read a
// piece before it sends the next one, so the server's recv(2) returns the same pieces.
func (c *Client) SendPieces(data string, at ...int) *Client {
	c.T.Helper()
	from := 0
	for _, to := range at {
		if to <= from || to >= len(data) {
			continue
		}
		c.Send(data[from:to])
		c.AwaitRead()
		from = to
	}
	return c.Send(data[from:])
}

// Drip sends data one byte at a time, as SendPieces does.
func (c *Client) Drip(data string) *Client {
	c.T.Helper()
	at := make([]int, 0, len(data))
	for i := 1; i < len(data); i++ {
		at = append(at, i)
	}
	return c.SendPieces(data, at...)
}

// SendRandomly sends data in pieces of random length, in a goroutine of its own like SendLater. It does
// not wait until the server has read a piece. The same seed makes the same pieces.
func (c *Client) SendRandomly(data string, longest int, seed uint64) <-chan struct{} {
	c.note(data)
	rng := rand.New(rand.NewPCG(seed, 0))
	done := make(chan struct{})
	_ = c.Conn.SetWriteDeadline(time.Now().Add(c.waiting))
	go func() {
		defer close(done)
		for data != "" {
			n := min(len(data), 1+rng.IntN(longest))
			if !c.Put(data[:n]) {
				return
			}
			data = data[n:]
		}
	}()
	return done
}

// Digest returns a function for [Client.Stream] that compares the SHA-256 of a body with want. It needs
// no second copy of a body of 24 MB.
func Digest(want [sha256.Size]byte) func(*Response, io.Reader) error {
	return func(resp *Response, in io.Reader) error {
		if resp.Status != 200 {
			return fmt.Errorf("answered %d", resp.Status)
		}
		sum := sha256.New()
		n, err := io.Copy(sum, in)
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		if size := resp.Get("Content-Length"); fmt.Sprint(n) != size {
			return fmt.Errorf("%d bytes, but Content-Length is %s: %w", n, size, io.ErrUnexpectedEOF)
		}
		if [sha256.Size]byte(sum.Sum(nil)) != want {
			return errors.New("the SHA-256 of the body is wrong")
		}
		return nil
	}
}

// Slowly returns a reader that returns at most n bytes of in at each tick. It waits on a clock because the
// speed of the reader is what the test is about.
func Slowly(in io.Reader, n int, tick time.Duration) io.Reader {
	return &slowReader{in: in, step: n, ticks: time.Tick(tick)}
}

type slowReader struct {
	in         io.Reader
	step, left int
	ticks      <-chan time.Time
}

func (s *slowReader) Read(b []byte) (int, error) {
	if s.left == 0 {
		<-s.ticks
		s.left = s.step
	}
	n, err := s.in.Read(b[:min(len(b), s.left)])
	s.left -= n
	return n, err
}

// WantSilence fails if the server sends a byte or closes the connection within d. With a correct
// server it always takes the whole time, so d is short. On a slow machine it may miss a byte that
// comes late, but it never fails without cause.
func (c *Client) WantSilence(d time.Duration) {
	c.T.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(d))
	_, err := c.R.Peek(1)
	if err == nil {
		rest, _ := c.R.Peek(c.R.Buffered())
		c.T.Fatalf("answered too early: %s%s", Quote(string(rest)), c.About(nil))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.T.Fatalf("closed too early: %v%s", err, c.About(nil))
	}
}

// DripUntil sends b at each tick until the server answers or closes the connection. This is the
// slowloris attack: a time-out that begins anew with each byte never ends.
func (c *Client) DripUntil(tick time.Duration, b string) {
	c.T.Helper()
	late := time.After(c.waiting)
	for range time.Tick(tick) {
		select {
		case <-late:
			c.T.Fatalf("the server still waits after %v of single bytes", c.waiting)
		default:
		}
		if !c.Silent() {
			return
		}
		_ = c.Conn.SetWriteDeadline(time.Now().Add(c.waiting))
		if !c.Put(b) {
			return
		}
	}
}
