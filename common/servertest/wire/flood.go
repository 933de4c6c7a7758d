package wire

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
)

// A Flood pipelines requests without end and reads the responses as fast as it can.
type Flood struct {
	Answered atomic.Int64 // bytes of responses read so far
	conn     net.Conn
}

// NewFlood starts a Flood that sends the request raw again and again.
func NewFlood(conn net.Conn, raw string) *Flood {
	f := &Flood{conn: conn}
	many := strings.Repeat(raw, 1+16<<10/len(raw))
	go func() {
		for {
			if _, err := io.WriteString(conn, many); err != nil {
				return
			}
		}
	}()
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			f.Answered.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	return f
}

// Stop ends the flood by closing its connection.
func (f *Flood) Stop() { _ = f.conn.Close() }
