package stream_test

import (
	"bytes"
	"fmt"
	"strings"

	"fourways.example/common/stream"
)

// A position stays valid when the buffer moves its bytes. A slice would not.
func ExampleBuffer() {
	var b stream.Buffer
	r := strings.NewReader("GET / HTTP/1.1\r\nHost: example.org\r\n")
	b.Fill(r)

	line := bytes.IndexByte(b.Unread(), '\n') + 1
	from := b.Pos()
	b.Advance(line)
	to := b.Pos()

	b.Grow(1 << 20) // moves the bytes to a larger array
	fmt.Printf("%d to %d: %q\n", from, to, b.Bytes(from, to))

	b.Discard() // drops the first line, keeps the second
	fmt.Printf("from %d: %q\n", b.Pos(), b.Unread())
	// Output:
	// 0 to 16: "GET / HTTP/1.1\r\n"
	// from 16: "Host: example.org\r\n"
}
