// Flawed is a small server with one flaw, which the name of its executable says. The test links it to each name.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// flaw is one of always-200, always-400, one-read, no-keep-alive, crlf-behind-bodies, crash-on-empty, slow,
// one-client, known-files and no-length.
var flaw = filepath.Base(os.Args[0])

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:"+argument("-p"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		if flaw == "one-client" {
			serve(conn)
			return
		}
		go serve(conn)
	}
}

// argument returns the value of a flag.
func argument(name string) string {
	for i, arg := range os.Args {
		if arg == name && i+1 < len(os.Args) {
			return os.Args[i+1]
		}
	}
	return ""
}

func serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReaderSize(conn, 64<<10)
	for first := true; first || flaw != "no-keep-alive" && flaw != "one-client"; first = false {
		switch flaw {
		case "always-200", "always-400":
			if _, err := conn.Read(make([]byte, 64<<10)); err != nil {
				return
			}
			status := strings.TrimPrefix(flaw, "always-")
			fmt.Fprintf(conn, "HTTP/1.1 %s %s\r\nContent-Length: 2\r\n\r\nok", status, status)
			continue
		case "one-read":
			buf := make([]byte, 64<<10)
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			in = bufio.NewReader(bytes.NewReader(buf[:n]))
		}
		r, err := http.ReadRequest(in)
		switch {
		case err == io.EOF && first && flaw == "crash-on-empty":
			panic("the request line has no method")
		case err == io.EOF:
			return
		case err != nil:
			answer(conn, "GET", 400, "bad request\n")
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if flaw == "slow" {
			time.Sleep(time.Second) // as a slow back end would
		}
		status, text := respond(r, string(body))
		answer(conn, r.Method, status, text)
	}
}

func respond(r *http.Request, body string) (status int, text string) {
	switch {
	case r.URL.Path == "/healthz":
		return 200, "ok"
	case r.URL.Path == "/echo" && r.Method == "POST":
		return 200, body
	case flaw == "known-files" && r.URL.Path == "/plain.txt":
		return 200, "a plain text\n"
	case flaw == "known-files":
		return 404, "no such file\n"
	}
	data, err := os.ReadFile(filepath.Join(argument("-R"), filepath.Clean(r.URL.Path)))
	if err != nil {
		return 404, "no such file\n"
	}
	return 200, string(data)
}

func answer(conn net.Conn, method string, status int, text string) {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	if flaw != "no-length" {
		b.WriteString("Content-Length: " + strconv.Itoa(len(text)) + "\r\n")
	}
	b.WriteString("\r\n")
	if method != "HEAD" {
		b.WriteString(text)
	}
	if flaw == "crlf-behind-bodies" {
		b.WriteString("\r\n")
	}
	_, _ = io.WriteString(conn, b.String())
}
