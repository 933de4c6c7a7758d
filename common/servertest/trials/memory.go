package trials

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
)

// memoryBudget uses up the memory that large requests may have together. Small ones need none
// of it and are served.
func memoryBudget(t *T) {
	const large, medium = 70, 80 // 64 MiB, and more
	flags := []string{"--body-timeout", "5m"}
	if t.Stage() < 4 {
		flags = append(flags, "-n", fmt.Sprint(large+medium+1))
	}
	s := t.Begin(Config{Flags: flags})
	serve(t, s)
	send := func(size int) *Client {
		c := t.DialTo(s, DialOptions{})
		c.Send(fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size-1)))
		return c
	}
	var clients []*Client
	for range large {
		clients = append(clients, send(1<<20))
	}
	for range medium {
		clients = append(clients, send(20_000))
	}
	for _, c := range clients {
		c.AwaitRead()
	}
	refused := 0
	for _, c := range clients {
		if !c.Silent() {
			refused++
		}
	}
	t.Logf("%d of %d large requests are refused", refused, len(clients))
	for range 20 {
		c := t.DialTo(s, DialOptions{})
		c.Request("GET", "/healthz").WantBody(200, "ok")
		c.Post("/echo", "small").WantBody(200, "small")
		c.Close()
	}
	for _, c := range clients {
		c.Reset()
	}
	t.Eventually("all of them are gone", func() bool { return s.Connections() == 0 })
	c := send(1 << 20) // and there is room again
	c.Send("x").Want(200)
}

// idleAfterTurn has clients pipeline as many requests as make a loop's turn end exactly with a
// response. They are idle then, and may cost no more than others.
func idleAfterTurn(t *T) {
	const clients = 1000
	const most = 4 << 10 // bytes for each client
	s := t.Begin(Config{Flags: []string{"--idle-timeout", "10m"}})
	for range 100 {
		serve(t, s)
	}
	t.Eventually("nobody is there", func() bool { return s.Connections() == 0 })
	before := s.Memory("RssAnon")
	crowd := newCrowd(t, s, clients, false)
	for requests := 13; requests <= 17; requests++ {
		data := []byte(strings.Repeat(healthz, requests))
		for _, m := range crowd {
			if err := m.pipeline(data, requests); err != nil {
				t.Fatalf("%d requests: %v", requests, err)
			}
		}
		grown := s.Memory("RssAnon") - before
		t.Logf("after %d requests each: RssAnon has grown by %d kB", requests, grown>>10)
		if grown > clients*most && !racing {
			t.Errorf("%d clients that pipelined %d requests and are idle hold %d kB", clients, requests, grown>>10)
		}
	}
}

// pipeline sends requests that are answered with "ok", all at once, and reads the answers.
func (m *member) pipeline(data []byte, answers int) error {
	_ = m.conn.SetDeadline(time.Now().Add(process.Patience))
	if _, err := m.conn.Write(data); err != nil {
		return err
	}
	got := make([]byte, 0, 16<<10)
	for bytes.Count(got, []byte("\r\n\r\nok")) < answers {
		n, err := m.conn.Read(got[len(got):cap(got)])
		if err == nil && n == 0 {
			err = io.ErrShortBuffer
		}
		if err != nil {
			return fmt.Errorf("after %s: %w", wire.Quote(string(got)), err)
		}
		got = got[:len(got)+n]
	}
	return nil
}
