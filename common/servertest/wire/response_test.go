package wire

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

// TestReadResponse checks that the reader rejects responses that a lenient reader would accept. A suite that
// misses these faults proves nothing.
func TestReadResponse(t *testing.T) {
	t.Parallel()
	date := "Date: " + time.Now().UTC().Format(imfFixdate) + "\r\n"
	good := "HTTP/1.1 200 OK\r\n" + date + "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
	without := func(part string) string { return strings.Replace(good, part, "", 1) }
	swap := func(old, now string) string { return strings.Replace(good, old, now, 1) }
	add := func(line string) string { return swap("\r\n\r\n", "\r\n"+line+"\r\n\r\n") }
	for _, c := range []struct {
		name, method, raw string
		fails             string // a part of the error; "" if the response is correct
	}{
		{"a correct response", "GET", good, ""},
		{"an interim response", "POST", "HTTP/1.1 100 Continue\r\n\r\n" + good, ""},
		{"HEAD", "HEAD", without("ok"), ""},
		{"204", "OPTIONS", "HTTP/1.1 204 No Content\r\n" + date + "Allow: GET\r\n\r\n", ""},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\n" + date + "\r\n", ""},

		{"no byte", "GET", "", "EOF"},
		{"HTTP/1.0", "GET", swap("HTTP/1.1", "HTTP/1.0"), "not of HTTP/1.1"},
		{"no space after the status code", "GET", swap("200 OK", "200"), "no status line"},
		{"a status code of two digits", "GET", swap("200", "20"), "no status line"},
		{"lines that end in LF", "GET", strings.ReplaceAll(good, "\r\n", "\n"), "does not end in CRLF"},
		{"a CR in a line", "GET", swap("OK", "O\rK"), "a CR"},
		{"a space before the colon", "GET", swap("Date:", "Date :"), "no field line"},
		{"a folded line", "GET", swap("text/plain", "text/\r\n plain"), "no field line"},
		{"a control byte in a field", "GET", swap("text/plain", "text\x01plain"), "control byte"},
		{"no Date", "GET", without(date), "IMF-fixdate"},
		{"a date of 2001", "GET", swap(date, "Date: Mon, 01 Jan 2001 00:00:00 GMT\r\n"), "more than a minute off"},
		{"a date in the format of RFC 850", "GET", swap(date, "Date: "+time.Now().UTC().Format(time.RFC850)+"\r\n"), "IMF-fixdate"},
		{"no Content-Length", "GET", without("Content-Length: 2\r\n"), "without Content-Length"},
		{"two Content-Length fields", "GET", add("content-length: 2"), "2 Content-Length"},
		{"a Content-Length with a plus sign", "GET", swap("Length: 2", "Length: +2"), "Content-Length"},
		{"no Content-Type", "GET", without("Content-Type: text/plain\r\n"), "without Content-Type"},
		{"a chunked response", "GET", add("Transfer-Encoding: chunked"), "Transfer-Encoding"},
		{"204 with Content-Length", "GET", "HTTP/1.1 204 No Content\r\n" + date + "Content-Length: 0\r\n\r\n", "204"},
		{"405 without Allow", "GET", swap("200 OK", "405 No"), "Allow"},
		{"an end in the head", "GET", good[:30], "EOF"},
		{"an end in the body", "GET", good[:len(good)-1], "body of 2"},
	} {
		r := bufio.NewReader(strings.NewReader(c.raw))
		resp, err := ReadResponse(r, c.method, nil)
		switch {
		case c.fails == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.fails == "" && r.Buffered() > 0:
			t.Errorf("%s: %d bytes are left", c.name, r.Buffered())
		case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%s: %v, want %q in the error; the response is %v", c.name, err, c.fails, resp)
		}
	}

	// Bytes after a body are read as the beginning of the next response.
	r := bufio.NewReader(strings.NewReader(good + "\r\n" + good))
	if _, err := ReadResponse(r, "GET", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadResponse(r, "GET", nil); err == nil {
		t.Error("no error for a CRLF between two responses")
	}
}

// TestReadTolerantly checks that each claim is tolerated by its own name only, and that the body of a response
// without Content-Length is read to the end of the connection.
func TestReadTolerantly(t *testing.T) {
	t.Parallel()
	const length, kind = "Content-Length: 2\r\n", "Content-Type: text/plain\r\n"
	date := "Date: " + time.Now().UTC().Format(imfFixdate) + "\r\n"
	for claim, raw := range map[string]string{
		"resp-status-line":  "HTTP/1.0 200 OK\r\n" + date + kind + length + "\r\nok",
		"resp-date":         "HTTP/1.1 200 OK\r\n" + kind + length + "\r\nok",
		"resp-content-type": "HTTP/1.1 200 OK\r\n" + date + length + "\r\nok",
		"resp-length":       "HTTP/1.1 200 OK\r\n" + date + kind + "\r\nok",
		"method-405":        "HTTP/1.1 405 No\r\n" + date + kind + length + "\r\nok",
	} {
		read := func(tolerates Tolerates) (*Response, error) {
			return ReadTolerantly(bufio.NewReader(strings.NewReader(raw)), "GET", nil, tolerates)
		}
		if resp, err := read(func(c string) bool { return c == claim }); err != nil || string(resp.Body) != "ok" {
			t.Errorf("%s is not tolerated: %v, %v", claim, resp, err)
		}
		if _, err := read(func(c string) bool { return c != claim }); err == nil {
			t.Errorf("%s is tolerated by another name", claim)
		}
	}
}
