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

// The adversarial client: what a network, or somebody with bad intentions, does to a request. TCP
// keeps no message boundaries, so each of these is the same request as sent at once.

// SendPieces sends data cut at the given positions. Each piece is read by the server before
// the next one leaves, so that the cut is a cut for its recv(2) as well.
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

// Drip sends data one byte at a time, each read by the server before the next one leaves.
func (c *Client) Drip(data string) *Client {
	c.T.Helper()
	at := make([]int, 0, len(data))
	for i := 1; i < len(data); i++ {
		at = append(at, i)
	}
	return c.SendPieces(data, at...)
}

// SendRandomly sends data in pieces of random length without waiting for the server; the same
// seed makes the same pieces. It runs beside the caller, like SendLater.
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

// Digest reads a body and compares it with a SHA-256. For 24 MB this is faster to say than
// where they differ.
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
			return fmt.Errorf("%d bytes, announced were %s: %w", n, size, io.ErrUnexpectedEOF)
		}
		if [sha256.Size]byte(sum.Sum(nil)) != want {
			return errors.New("the bytes are other ones")
		}
		return nil
	}
}

// Slowly is a reader that hands out at most n bytes at each tick: here time itself is what is
// tested.
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

// WantSilence fails if anything comes within d, an end included. It is the one wait that takes
// its whole time on a good server, so d is short; on a slow machine it may miss something but
// never makes it up.
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

// DripUntil sends a byte at each tick until the server says something or closes: the client of
// slowloris, to which no time-out between two bytes ever happens.
func (c *Client) DripUntil(tick time.Duration, b string) {
	c.T.Helper()
	late := time.After(c.waiting)
	for range time.Tick(tick) {
		select {
		case <-late:
			c.T.Fatalf("still listened to after %v of a byte at a time", c.waiting)
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
