package stream_test

import (
	"bytes"
	"fmt"
	"strings"

	"fourways.example/common/stream"
)

// A position outlives every move of the memory, where a slice would not.
func ExampleBuffer() {
	var b stream.Buffer
	r := strings.NewReader("GET / HTTP/1.1\r\nHost: example.org\r\n")
	b.Fill(r)

	line := bytes.IndexByte(b.Unread(), '\n') + 1
	from := b.Pos()
	b.Advance(line)
	to := b.Pos()

	b.Grow(1 << 20) // another array
	fmt.Printf("%d to %d: %q\n", from, to, b.Bytes(from, to))

	b.Discard() // the line is no longer needed; what follows is
	fmt.Printf("from %d: %q\n", b.Pos(), b.Unread())
	// Output:
	// 0 to 16: "GET / HTTP/1.1\r\n"
	// from 16: "Host: example.org\r\n"
}
