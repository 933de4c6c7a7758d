package hostile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
)

const (
	// every is the time between two requests of the normal client.
	every = 20 * time.Millisecond
	// bound is how long the normal client waits for a response.
	bound = 5 * time.Second
)

// latencies holds the latency of each request of the normal client.
type latencies struct {
	took   []time.Duration // of the requests that were answered
	failed int
	first  error // of the first request that failed
}

func (l *latencies) count() int { return len(l.took) + l.failed }

// at returns the latency that a part q of the requests does not exceed, 0 < q ≤ 1. It is 0 without requests.
func (l *latencies) at(q float64) time.Duration {
	if len(l.took) == 0 {
		return 0
	}
	slices.Sort(l.took)
	rank := int(math.Ceil(q * float64(len(l.took))))
	return l.took[max(rank, 1)-1].Round(10 * time.Microsecond)
}

// ask is the normal client. It makes requests until ctx ends, each second one on a new connection. A latency counts
// from the moment when the request was due, so a request that the one before delays is late, too.
func ask(ctx context.Context, s *process.Server) latencies {
	var l latencies
	var kept net.Conn
	defer func() {
		if kept != nil {
			_ = kept.Close()
		}
	}()
	for due, n := time.Now(), 0; ctx.Err() == nil; due, n = due.Add(every), n+1 {
		if wait := time.Until(due); wait > 0 {
			select {
			case <-ctx.Done():
				return l
			case <-time.After(wait):
			}
		}
		var err error
		if n%2 == 0 {
			err = getOnce(s)
		} else {
			if kept == nil {
				kept, err = net.DialTimeout("tcp4", s.Addr(), bound)
			}
			if err == nil {
				err = get(kept)
			}
			if err != nil && kept != nil {
				_ = kept.Close()
				kept = nil
			}
		}
		if err != nil {
			l.failed++
			if l.first == nil {
				l.first = err
			}
			continue
		}
		l.took = append(l.took, time.Since(due))
	}
	return l
}

// smallFile is the file that the normal client asks for.
const smallFile = "plain.txt"

// get asks for the small file on a connection.
func get(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(bound))
	if _, err := io.WriteString(c, wire.Request("GET", "/"+smallFile, "")); err != nil {
		return err
	}
	resp, err := wire.ReadResponse(bufio.NewReader(c), "GET", nil)
	switch {
	case err != nil:
		return err
	case resp.Status != 200 || string(resp.Body) != docroot.Texts[smallFile]:
		return fmt.Errorf("the answer is %d with %d bytes", resp.Status, len(resp.Body))
	}
	return nil
}

// getOnce asks for the small file on a new connection.
func getOnce(s *process.Server) error {
	c, err := net.DialTimeout("tcp4", s.Addr(), bound)
	if err != nil {
		return err
	}
	defer c.Close()
	return get(c)
}

// warmUp makes the requests of all loads once and reads the responses.
func warmUp(s *process.Server) error {
	for range 100 {
		if err := getOnce(s); err != nil {
			return err
		}
	}
	c, err := net.DialTimeout("tcp4", s.Addr(), bound)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(4 * bound))
	if _, err := io.WriteString(c, wire.Request("GET", "/big.bin", "", "Connection: close")); err != nil {
		return err
	}
	if n, err := io.Copy(io.Discard, c); err != nil || n < docroot.BigSize {
		return errors.Join(fmt.Errorf("big.bin: %d bytes of the response", n), err)
	}
	return nil
}
