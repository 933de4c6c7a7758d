package suite

import (
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
)

// Dial connects to the case's server. The connection is closed when the case ends.
func (t *T) Dial() *wire.Client {
	t.Helper()
	return t.DialTo(t.Server, process.DialOptions{})
}

// DialTo connects to a server. The connection is closed when the case ends.
func (t *T) DialTo(s *process.Server, o process.DialOptions) *wire.Client {
	t.Helper()
	c := t.Connect(s, o)
	t.OnEnd(c.Close)
	return c
}

// Connect is like DialTo, but the caller must close the connection.
func (t *T) Connect(s *process.Server, o process.DialOptions) *wire.Client {
	conn, err := s.Dial(o)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return wire.NewClient(t, conn, conn, t.Patience())
}

// EachSplit sends a request in two pieces, once for every position of the cut, on one persistent connection.
// It calls check to read each response.
func (t *T) EachSplit(raw string, check func(c *wire.Client)) {
	t.Helper()
	c := t.Dial()
	for at := 1; at < len(raw); at++ {
		c.SendPieces(raw, at)
		check(c)
	}
	c.WantKept()
	c.Close()
}

// Idle opens n connections and sends nothing on them.
func (t *T) Idle(n int) []*wire.Client {
	t.Helper()
	clients := make([]*wire.Client, n)
	for i := range clients {
		clients[i] = t.Dial()
	}
	return clients
}

// Flood starts a flood of the request. The flood ends with the case, or with Flood.Stop.
func (t *T) Flood(raw string) *wire.Flood {
	t.Helper()
	conn, err := t.Server.Dial(process.DialOptions{})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	f := wire.NewFlood(conn, raw)
	t.OnEnd(f.Stop)
	return f
}
