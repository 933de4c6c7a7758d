package cases

import (
	"fmt"
	"strings"
	"time"

	"fourways.example/common/servertest/docroot"
)

const (
	mib  = 1 << 20
	post = "POST /echo HTTP/1.1\r\nHost: h\r\n"
)

// sized returns a POST request with this Content-Length and body.
func sized(length, body string) string { return post + "Content-Length: " + length + "\r\n\r\n" + body }

// chunked returns a POST request with these chunks as its body.
func chunked(chunks string) string { return post + "Transfer-Encoding: chunked\r\n\r\n" + chunks }

// chunk returns a chunk with this chunk line and data.
func chunk(line, data string) string { return line + "\r\n" + data + "\r\n" }

// last is the last chunk, without trailers.
const last = "0\r\n\r\n"

// echoed returns a row for a POST to /echo that gets its body back and is kept alive.
func echoed(name, send, body string) row {
	return row{name: name, send: send, want: 200, kept: true, body: body}
}

func bodyCases() []Case {
	coding := func(te, body string) string { return post + "Transfer-Encoding: " + te + "\r\n\r\n" + body }
	five := chunk("5", "hello") + last
	return []Case{
		{Name: "body-length", IDs: []string{"body-length", "body-length-1m", "api-echo"}, Run: func(t *T) {
			for _, n := range []int{0, 1, 2, 100, 4095, 4096, 4097, 16 << 10, 65535, 65536, 70_000, 1 << 19, mib - 1, mib} {
				body := strings.Repeat("0123456789abcdef", n/16+1)[:n]
				c := t.Dial()
				sent := c.SendLater(sized(fmt.Sprint(n), body))
				if got := string(c.Want(200).Body); got != body {
					t.Errorf("a body of %d bytes came back as %d different bytes", n, len(got))
				}
				<-sent
				c.WantKept()
				c.Close()
			}
		}},
		{Name: "body-length-cut", IDs: []string{"body-length"}, Run: func(t *T) {
			// Each body arrives in many segments, and the last one may hold the start of the next request.
			body := strings.Repeat("0123456789abcdef", 2000)
			raw := sized(fmt.Sprint(len(body)), body)
			c := t.Dial()
			sent := c.SendRandomly(strings.Repeat(raw, 5), 3000, 7)
			for range 5 {
				if got := string(c.Want(200).Body); got != body {
					t.Fatalf("a body of %d bytes came back as %d different bytes", len(body), len(got))
				}
			}
			<-sent
			c.WantKept()
			c.Close()
			// Small requests arrive together, so one read brings more than one body.
			c = t.Dial()
			c.Send(strings.Repeat(sized("5", "hello"), 20))
			for range 20 {
				c.WantBody(200, "hello")
			}
			c.WantKept()
		}},
		{Name: "body-length-digits", IDs: []string{"body-length-digits"}, Run: func(t *T) {
			for _, v := range []string{
				"+5", "-5", "-0", "0x5", "5 5", "5,6", "5, 6", "", "5.0", "5e0", "five", "5;", ";5", "5\x80", "٥", "5,", ",5", "\"5\"", "_5", "1_0",
			} {
				exchange(t, bad(fmt.Sprintf("%q", v), sized(v, "hello")))
			}
			exchange(t, row{name: "a list of equal lengths", send: sized("5, 5", "hello"), want: 400, once: true})
		}},
		{Name: "body-length-zeros", IDs: []string{"body-length-zeros"}, Run: func(t *T) {
			exchange(t,
				echoed("005", sized("005", "hello"), "hello"),
				echoed("30 digits", sized(strings.Repeat("0", 29)+"5", "hello"), "hello"),
				ok("000", sized("000", "")),
				echoed("010, which is decimal", sized("010", "0123456789"), "0123456789"),
			)
		}},
		{Name: "body-length-two", IDs: []string{"body-length-two"}, Run: func(t *T) {
			two := func(a, b string) string {
				return post + "Content-Length: " + a + "\r\nContent-Length: " + b + "\r\n\r\nhello"
			}
			exchange(t,
				bad("5 and 6", two("5", "6")),
				bad("6 and 5", two("6", "5")),
				bad("5 and 0", two("5", "0")),
				bad("0 and 5", two("0", "5")),
				bad("5 and nonsense", two("5", "x")),
				bad("nonsense and 5", two("x", "5")),
			)
			c := t.Dial()
			switch resp := c.Send(two("5", "5") + follow).Read(); {
			case resp.Status == 400 && resp.Has("Connection", "close"):
				c.WantEnd()
			case resp.Status == 200 && string(resp.Body) == "hello":
				c.WantBody(200, "ok")
			default:
				t.Errorf("5 and 5: the response is %v, want 200 or a refusal with 400", resp)
			}
		}},
		{Name: "body-length-63", IDs: []string{"body-length-63"}, Run: func(t *T) {
			exchange(t,
				bad("2^63", sized("9223372036854775808", "hello")),
				bad("2^64+5", sized("18446744073709551621", "hello")),
				bad("2^64", sized("18446744073709551616", "")),
				bad("30 digits", sized(strings.Repeat("9", 30), "hello")),
				bad("1000 digits", sized(strings.Repeat("1", 1000), "hello")),
			)
		}},
		{Name: "body-length-413", IDs: []string{"body-length-413", "refuse-413"}, Run: func(t *T) {
			exchange(t,
				row{name: "1 MiB and one byte", send: sized("1048577", ""), want: 413},
				row{name: "2^63-1", send: sized("9223372036854775807", ""), want: 413},
				row{name: "in a GET", send: "GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n", want: 413},
				row{name: "leading zeros", send: sized("0000000000000000000001048577", ""), want: 413},
			)
			c := t.Dial()
			c.SendLater(sized("1048577", strings.Repeat("x", mib+1)))
			c.WantRefused(413)
			c.Close()
			// The client sends the body after the response has arrived.
			c = t.Dial()
			c.Send(sized("1048577", ""))
			c.AwaitFIN()
			c.Send(strings.Repeat("x", 100_000))
			c.AwaitRead()
			c.WantRefused(413)
		}},
		{Name: "body-chunked", IDs: []string{"body-chunked"}, Run: func(t *T) {
			for _, te := range []string{"chunked", "Chunked", "CHUNKED", " \tchUnked\t "} {
				exchange(t, echoed(te, coding(te, five), "hello"))
			}
			var many, body strings.Builder
			for i := range 500 {
				data := strings.Repeat(string(rune('a'+i%26)), 1+i*7%300)
				many.WriteString(chunk(fmt.Sprintf("%x", len(data)), data))
				body.WriteString(data)
			}
			exchange(t,
				echoed("500 chunks", chunked(many.String()+last), body.String()),
				ok("no chunks", chunked(last)),
			)
			c := t.Dial()
			sent := c.SendRandomly(strings.Repeat(chunked(many.String()+last), 3), 100, 9)
			for range 3 {
				c.WantBody(200, body.String())
			}
			<-sent
			c.WantKept()
		}},
		{Name: "body-te-bad", IDs: []string{"body-te-bad"}, Run: func(t *T) {
			for _, te := range []string{
				"chunked, chunked", "chunked,chunked", "chunked, gzip", "chunked\r\nTransfer-Encoding: chunked",
				"chunked\r\nTransfer-Encoding: gzip", "chunked, identity", "chunked chunked", "gzip, chunked\r\nTransfer-Encoding: gzip",
				"ch@nked", "\"chunked\"", "chunked;", "gzip, chunked, chunked", "chunked\tx", "chunked;a=b", "gzip, chunked; a=b", "gzip;a, chunked",
				"gzip;a=, chunked", "gzip;a=\"b, chunked", "gzip;a=\"b\"c, chunked", ";a=b, chunked",
			} {
				exchange(t, bad(fmt.Sprintf("%q", te), coding(te, five)))
			}
		}},
		{Name: "body-te-empty", IDs: []string{"body-te-empty"}, Run: func(t *T) {
			for _, te := range []string{
				"", ",", ",chunked", "chunked,", "chunked, ", ", ,chunked", "gzip,,chunked", "gzip, \t, chunked", "\r\nTransfer-Encoding: chunked",
				"gzip\r\nTransfer-Encoding:\r\nTransfer-Encoding: chunked", "chunked\r\nTransfer-Encoding: ",
			} {
				exchange(t, bad(fmt.Sprintf("%q", te), coding(te, five)))
			}
		}},
		{Name: "body-te-not-last", IDs: []string{"body-te-not-last"}, Run: func(t *T) {
			for _, te := range []string{
				"gzip", "identity", "xchunked", "chunkedx", "chunk", "foo", "gzip, deflate", "gzip\r\nTransfer-Encoding: br", "gzip;a=\"b, chunked\"",
				"gzip ; a = b", "gzip;chunked=chunked",
			} {
				exchange(t, bad(fmt.Sprintf("%q", te), coding(te, five)))
			}
		}},
		{Name: "body-te-unknown", IDs: []string{"body-te-unknown"}, Run: func(t *T) {
			for _, te := range []string{
				"gzip, chunked", "gzip,chunked", "identity, chunked", "gzip, deflate, CHUNKED", "xchunked\t,\tchunked", "gzip\r\nTransfer-Encoding: chunked",
				"gzip\r\nX: y\r\nTransfer-Encoding: br\r\ntransfer-encoding: chunked", "gzip;a=b;c=\"d\", chunked", "gzip;a=\"b, \\\"c\", chunked",
			} {
				exchange(t, row{name: fmt.Sprintf("%q", te), send: coding(te, five), want: 501})
			}
		}},
		{Name: "body-te-10", IDs: []string{"body-te-10"}, Run: func(t *T) {
			exchange(t,
				bad("chunked", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"+five),
				bad("an unknown coding", "POST /echo HTTP/1.0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"+five),
				bad("with keep-alive", "POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"+five),
			)
		}},
		{Name: "body-te-length", IDs: []string{"body-te-length"}, Run: func(t *T) {
			exchange(t,
				bad("Content-Length first", post+"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n"+five),
				bad("Transfer-Encoding first", post+"Transfer-Encoding: chunked\r\nContent-Length: 15\r\n\r\n"+five),
				bad("Content-Length: 0", post+"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"+five),
				bad("Content-Length: 0 first", post+"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"+five),
				bad("an unknown coding", post+"Transfer-Encoding: gzip\r\nContent-Length: 15\r\n\r\n"+five),
				bad("an unknown coding and chunked", post+"Transfer-Encoding: gzip, chunked\r\nContent-Length: 15\r\n\r\n"+five),
			)
		}},
		{Name: "body-dropped", IDs: []string{"body-dropped"}, Run: func(t *T) {
			for _, r := range []struct {
				method, target string
				want           int
			}{
				{"GET", "/healthz", 200},
				{"GET", "/plain.txt", 200},
				{"HEAD", "/plain.txt", 200},
				{"DELETE", "/plain.txt", 405},
				{"PUT", "/plain.txt", 405},
				{"OPTIONS", "/plain.txt", 204},
				{"TRACE", "/plain.txt", 405},
				{"POST", "/nothing-there", 405},
				{"GET", "/nothing-there", 404},
				{"GET", "/private/secret.txt", 403},
				{"BREW", "/", 501},
				{"GET", "/sub", 301},
			} {
				also := 0
				if r.target == "/nothing-there" {
					also = 404 // a server may look for the file before it looks at the method
				}
				head := r.method + " " + r.target + " HTTP/1.1\r\nHost: h\r\n"
				exchange(t,
					row{
						name: r.method + " " + r.target + " with Content-Length", send: head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(follow)) + follow,
						want: r.want, also: also, kept: true, method: r.method,
					},
					row{
						name: r.method + " " + r.target + " chunked",
						send: head + "Transfer-Encoding: chunked\r\n\r\n" + chunk(fmt.Sprintf("%x", len(follow)), follow) + last,
						want: r.want, also: also, kept: true, method: r.method,
					},
				)
			}
			// This body is larger than any read buffer.
			c := t.Dial()
			sent := c.SendLater("GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("x", 300_000))
			c.WantBody(200, "ok")
			<-sent
			c.WantKept()
		}},
		{Name: "body-bad-first", IDs: []string{"body-bad-first"}, Run: func(t *T) {
			exchange(t,
				bad("a bad chunk", "DELETE /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"),
				bad("a bad second chunk", "PUT /plain.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"+chunk("1", "a")+"1\r\nbXX"),
				bad("a bad Content-Length", "DELETE /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n"),
				bad("Content-Length and Transfer-Encoding", "POST /plain.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"+last),
				bad("a bad trailer", "GET /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n"),
			)
		}},
	}
}

func chunkCases() []Case {
	lines := func(make func(string) row, all ...string) func(*T) {
		return func(t *T) {
			for _, l := range all {
				exchange(t, make(l))
			}
		}
	}
	good := func(l string) row { return echoed(fmt.Sprintf("%q", l), chunked(chunk(l, "hello")+last), "hello") }
	wrong := func(l string) row { return bad(fmt.Sprintf("%q", l), chunked(chunk(l, "hello")+last)) }
	trailer := func(lines string) string { return chunked(chunk("5", "hello") + "0\r\n" + lines + "\r\n") }
	trailers := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X-%d: %d\r\n", i, i)
		}
		return b.String()
	}
	return []Case{
		{Name: "chunk-size", IDs: []string{"chunk-size"}, Run: func(t *T) {
			lines(good, "5", "05", "0000000000000005")(t)
			lines(wrong, "00000000000000005", "000000000000000000000000000000005", strings.Repeat("0", 200)+"5")(t)
			data := strings.Repeat("x", 0xab)
			for _, size := range []string{"ab", "AB", "aB", "0Ab"} {
				exchange(t, echoed(size, chunked(chunk(size, data)+last), data))
			}
			exchange(t,
				echoed("a last chunk of 16 zeros", chunked(chunk("5", "hello")+strings.Repeat("0", 16)+"\r\n\r\n"), "hello"),
				bad("a last chunk of 17 zeros", chunked(chunk("5", "hello")+strings.Repeat("0", 17)+"\r\n\r\n")),
			)
		}},
		{Name: "chunk-ext", IDs: []string{"chunk-ext", "chunk-ext-bws"}, Run: func(t *T) {
			lines(good,
				"5;a", "5;a=b", `5;a="b"`, `5;a="b c"`, `5;a=""`, `5;a="\""`, `5;a="\\"`, `5;a=";b"`, "5;a;b=c;d=\"e\"", "5;a=\"\x80\xff\"", "5;a=\"\t\"",
				`5;a="\x"`, "5;!#$%&'*+-.^_`|~=x", "5;0=1", "5;chunk-signature=0123456789abcdef",
			)(t)
			lines(good, "5 ;a", "5; a", "5 ; a", "5;a =b", "5;a= b", "5;a = b", "5\t;\ta\t=\tb", "5;a ;b", `5; a="b" ; c`, "5  ;  a")(t)
			exchange(t, echoed("an extension of the last chunk", chunked(chunk("5", "hello")+"0;a=\"b\"\r\n\r\n"), "hello"))
		}},
		{Name: "chunk-bad-size", IDs: []string{"chunk-bad-size"}, Run: func(t *T) {
			lines(wrong,
				"5;", "5 ", " 5", "\t5", "5\t", "0x5", "5x", "5h", "-5", "+5", "", "g", "5,6", "5 5", "5;;a", "5;a=", "5;=b", "5;a b", "5;a;", "5;a ", "5;a=b ",
				`5;a="b`, `5;a="b"c`, `5;a="b" c`, "5;a=b c", `5;a="b\`, "5;a=\x01", "5;a=\"\x01\"", "5;a=\"\x7f\"", "5\x00", "5;a\x00", "5;a==b", "5;a=b=c", "5; ",
				"5 ;", "5;a=(b)", "5=a", "5\"a\"", "\x0b5",
			)(t)
			// The same lines are invalid for the last chunk. Above all, an empty size is not 0.
			for _, l := range []string{"", ";a", "0;", "0 ", " 0", "0x", "0x0", "-0", "+0", "0;a=", "0;a=\"b"} {
				exchange(t, bad(fmt.Sprintf("%q as the last chunk", l), chunked(chunk("5", "hello")+l+"\r\n\r\n")))
			}
		}},
		{Name: "chunk-line-4k", IDs: []string{"chunk-line-4k"}, Run: func(t *T) {
			long := func(n int) string { return "5;a=" + strings.Repeat("b", n-len("5;a=")) }
			exchange(t, good(long(4000)), wrong(long(4097)), wrong(long(5000)), wrong(long(100_000)))
			// The limit is for each line, not for all chunk lines of a body.
			c := t.Dial()
			c.SendLater(chunked(strings.Repeat(chunk(long(4000), "hello"), 30) + last))
			c.WantBody(200, strings.Repeat("hello", 30))
			c.WantKept()
		}},
		{Name: "chunk-crlf", IDs: []string{"chunk-crlf"}, Run: func(t *T) {
			exchange(t,
				bad("LF after the size", chunked("5\nhello\r\n0\r\n\r\n")),
				bad("CR after the size", chunked("5\rhello\r\n0\r\n\r\n")),
				bad("CR CR LF after the size", chunked("5\r\r\nhello\r\n0\r\n\r\n")),
				bad("LF after an extension", chunked("5;a\nhello\r\n0\r\n\r\n")),
				bad("CR in an extension", chunked("5;a\rb\r\nhello\r\n0\r\n\r\n")),
				bad("LF in a quoted string", chunked("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n")),
				bad("LF after the last size", chunked(chunk("5", "hello")+"0\n\r\n")),
				bad("LF instead of the last CRLF", chunked(chunk("5", "hello")+"0\r\n\n")),
				bad("CR instead of the last CRLF", chunked(chunk("5", "hello")+"0\r\n\rX")),
				bad("an empty line before the size", chunked("\r\n5\r\nhello\r\n0\r\n\r\n")),
			)
		}},
		{Name: "chunk-data-crlf", IDs: []string{"chunk-data-crlf"}, Run: func(t *T) {
			exchange(t,
				bad("more data than the size", chunked("5\r\nhelloX\r\n0\r\n\r\n")),
				bad("another byte instead of CR", chunked("5\r\nhelloX\n0\r\n\r\n")),
				bad("two LF", chunked("5\r\nhello\n\n0\r\n\r\n")),
				bad("LF alone", chunked("5\r\nhello\n0\r\n\r\n")),
				bad("CR CR LF", chunked("5\r\nhello\r\r\n0\r\n\r\n")),
				bad("CR without LF", chunked("5\r\nhello\rX0\r\n\r\n")),
				bad("no line end", chunked("5\r\nhello0\r\n\r\n")),
				bad("less data than the size", chunked("6\r\nhello\r\n0\r\n\r\n")),
			)
		}},
		{Name: "chunk-trailers", IDs: []string{"chunk-trailers"}, Run: func(t *T) {
			for _, lines := range []string{
				"X: y\r\n", "X: y\r\nZ:\r\n", "Connection: close\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "X: \x80\xff\t\r\n",
				"Content-Type: text/other\r\n", "Expect: miracles\r\n",
			} {
				exchange(t, echoed(fmt.Sprintf("%q", lines), trailer(lines), "hello"))
			}
			c := t.Dial()
			resp := c.Send(post+"Content-Type: text/x-head\r\nTransfer-Encoding: chunked\r\n\r\n"+chunk("2", "ok")+"0\r\nX-T: text/x-trailer\r\n\r\n").WantBody(200, "ok")
			if got := resp.Get("Content-Type"); got != "text/x-head" && !mayLack(t, resp, "Content-Type") {
				t.Errorf("Content-Type is %q, want text/x-head", got)
			}
			// Trailers must not replace header fields of the request.
			resp = c.Send(chunked(chunk("2", "ok")+"0\r\nContent-Type: text/x-trailer\r\n\r\n")).WantBody(200, "ok")
			if got := resp.Get("Content-Type"); got == "text/x-trailer" {
				t.Errorf("the response has the Content-Type of the trailers")
			}
			for _, line := range []string{"If-None-Match: *", "If-Match: \"other\"", "Range: bytes=0-1"} {
				c.Send("GET /plain.txt HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"+line+"\r\n\r\n").WantBody(200, docroot.Texts["plain.txt"])
			}
			c.WantKept()
		}},
		{Name: "chunk-trailer-rules", IDs: []string{"chunk-trailer-rules", "field-value-control"}, Run: func(t *T) {
			for _, lines := range []string{
				"X : y\r\n", " X: y\r\n", "X: y\r\n z\r\n", "nocolon\r\n", ": y\r\n", "b(d: y\r\n", "X: \x01\r\n", "X: \x7f\r\n", "X: \x00\r\n", "X: a\n", "X: a\rb\r\n",
			} {
				exchange(t, bad(fmt.Sprintf("%q", lines), trailer(lines)))
			}
		}},
		{Name: "chunk-trailer-limits", IDs: []string{"chunk-trailer-limits"}, Run: func(t *T) {
			exchange(t,
				echoed("200 fields", trailer(trailers(200)), "hello"), // header fields do not count
				row{name: "201 fields", send: trailer(trailers(201)), want: 431},
				echoed("a field of 65,000 bytes", trailer("X: "+strings.Repeat("x", 65_000)+"\r\n"), "hello"),
				row{name: "a field of 70,000 bytes", send: trailer("X: " + strings.Repeat("x", 70_000) + "\r\n"), want: 431},
			)
		}},
		{Name: "chunk-413", IDs: []string{"chunk-413", "refuse-413"}, Run: func(t *T) {
			piece := chunk("10000", strings.Repeat("x", 1<<16))
			c := t.Dial()
			c.SendLater(chunked(strings.Repeat(piece, 16) + last))
			if n := len(c.Want(200).Body); n != mib {
				t.Errorf("1 MiB came back as %d bytes", n)
			}
			c.WantKept()
			c.Close()
			extensions := strings.Repeat(chunk("1;"+strings.Repeat("x", 4094), "x"), 256) // 256 bytes less than 1 MiB
			one := chunked(chunk("100000", strings.Repeat("x", mib)) + last)
			exchange(t,
				row{name: "1 MiB in one chunk", send: one, want: 200, kept: true},
				row{name: "a second chunk that makes 1 MiB and one byte", send: chunked(strings.Repeat(piece, 16) + chunk("1", "x") + last), want: 413},
				row{name: "one chunk of 1 MiB and one byte", send: chunked("100001\r\n"), want: 413},
				row{name: "2^63-1", send: chunked("7fffffffffffffff\r\n"), want: 413, also: 400},
				row{name: "2^64-1", send: chunked("ffffffffffffffff\r\n"), want: 413, also: 400},
				row{name: "1 MiB of extensions", send: chunked(extensions + "0;" + strings.Repeat("x", 255) + "\r\n\r\n"), want: 200, kept: true},
				row{name: "1 MiB and one byte of extensions", send: chunked(extensions + "0;" + strings.Repeat("x", 256) + "\r\n\r\n"), want: 413},
				row{name: "sizes whose sum overflows 64 bits", send: chunked(chunk("5", "hello") + "fffffffffffffffb\r\n"), want: 413, also: 400},
			)
		}},
	}
}

func expectCases() []Case {
	const expect = "Expect: 100-continue\r\n"
	return []Case{
		{Name: "expect-100", IDs: []string{"expect-100"}, Run: func(t *T) {
			for name, body := range map[string][2]string{
				"Content-Length":  {"Content-Length: 5\r\n", "hello"},
				"chunked":         {"Transfer-Encoding: chunked\r\n", chunk("5", "hello") + last},
				"in capitals":     {"Content-Length: 5\r\nExpect: 100-CONTINUE\r\n", "hello"},
				"twice in a list": {"Content-Length: 5\r\nExpect: 100-continue, 100-continue\r\n", "hello"},
			} {
				t.Sub(name, func(t *T) {
					c := t.Dial()
					for range 2 {
						head := post + body[0]
						if !strings.Contains(head, "Expect") {
							head += expect
						}
						c.Send(head + "\r\n")
						c.WantContinue()
						resp := c.Send(body[1]).WantBody(200, "hello")
						if len(resp.Interim) > 0 {
							t.Errorf("the server sends a second 100")
						}
					}
					c.WantKept()
				})
			}
			// The server sends 100 at the end of the head, not before.
			c := t.Dial()
			c.Send(post + expect + "Content-Length: 5\r\n")
			c.AwaitRead()
			c.WantSilence(20 * time.Millisecond)
			c.Send("\r\n").WantContinue()
			c.Drip("hello").WantBody(200, "hello")
			c.WantKept()
		}},
		{Name: "expect-100-late", IDs: []string{"expect-100-late"}, Run: func(t *T) {
			for _, along := range []string{"hello", "h"} {
				c := t.Dial()
				c.Send(post + expect + "Content-Length: 5\r\n\r\n" + along)
				if along != "hello" {
					c.AwaitRead()
					c.WantSilence(20 * time.Millisecond)
					c.Send("hello"[len(along):])
				}
				if resp := c.WantBody(200, "hello"); len(resp.Interim) > 0 {
					t.Errorf("the server sends 100, although %q of the body came with the head", along)
				}
				c.WantKept()
				c.Close()
			}
			for _, along := range []string{"5", "5\r\nhel", chunk("5", "hello")} {
				c := t.Dial()
				c.Send(post + expect + "Transfer-Encoding: chunked\r\n\r\n" + along)
				c.AwaitRead()
				c.WantSilence(20 * time.Millisecond)
				c.Send((chunk("5", "hello") + last)[len(along):])
				if resp := c.WantBody(200, "hello"); len(resp.Interim) > 0 {
					t.Errorf("the server sends 100, although %q of the chunks came with the head", along)
				}
				c.WantKept()
				c.Close()
			}
		}},
		{Name: "expect-100-no-body", IDs: []string{"expect-100-no-body"}, Run: func(t *T) {
			c := t.Dial()
			for _, raw := range []string{get + expect + "\r\n", post + expect + "Content-Length: 0\r\n\r\n", post + expect + "\r\n"} {
				if resp := c.Send(raw).Want(200); len(resp.Interim) > 0 {
					t.Errorf("the server sends 100 to %q", raw)
				}
			}
			c.WantKept()
		}},
		{Name: "expect-100-10", IDs: []string{"expect-100-10"}, Run: func(t *T) {
			for _, e := range []string{"100-continue", "miracles"} {
				c := t.Dial()
				c.Send("POST /echo HTTP/1.0\r\nExpect: " + e + "\r\nContent-Length: 5\r\n\r\n")
				c.AwaitRead()
				c.WantSilence(20 * time.Millisecond)
				if resp := c.Send("hello").WantBody(200, "hello"); len(resp.Interim) > 0 {
					t.Errorf("Expect: %s: the server sends an interim response to HTTP/1.0", e)
				}
				c.WantEnd()
				c.Close()
			}
		}},
		{Name: "expect-417", IDs: []string{"expect-417", "refuse-417"}, Run: func(t *T) {
			for _, e := range []string{"miracles", "100-continue, miracles", "100", "100-continued", "miracles\r\nExpect: 100-continue"} {
				exchange(t, row{name: fmt.Sprintf("%q", e), send: post + "Expect: " + e + "\r\nContent-Length: 5\r\n\r\nhello", want: 417})
			}
			exchange(t, row{name: "without a body", send: get + "Expect: miracles\r\n\r\n", want: 417})
		}},
		{Name: "expect-certain", IDs: []string{"expect-certain"}, Env: account, Run: certainAnswers},
		{Name: "expect-certain-no-account", IDs: []string{"expect-certain", "env-no-account"}, Run: func(t *T) {
			_ = wantCertain(t, "POST", "/api/login", "Content-Length: 5", 403) && wantCertain(t, "POST", "/api/login", "Transfer-Encoding: chunked", 403)
		}},
		{Name: "expect-uncertain", IDs: []string{"expect-certain", "expect-100"}, Env: account, Run: uncertainAnswers},
		{Name: "expect-refused", IDs: []string{"expect-refused"}, Run: func(t *T) {
			for raw, want := range map[string]int{
				post + expect + "Content-Length: 2000000\r\n\r\n":                                     413,
				post + expect + "Content-Length: x\r\n\r\n":                                           400,
				post + expect + "Host: h\r\nContent-Length: 5\r\n\r\n":                                400,
				post + expect + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n":             400,
				post + expect + "Transfer-Encoding: gzip\r\n\r\n":                                     400,
				post + expect + "Transfer-Encoding: gzip, chunked\r\n\r\n":                            501,
				"POST /\x01 HTTP/1.1\r\nHost: h\r\n" + expect + "Content-Length: 5\r\n\r\n":           400,
				"POST /echo HTTP/2.0\r\nHost: h\r\n" + expect + "Content-Length: 5\r\n\r\n":           505,
				"POST /echo HTTP/1.1\r\n" + expect + "Content-Length: 5\r\n\r\n":                      400,
				post + expect + "Content-Type: a/b\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\n": 400,
			} {
				t.Sub(fmt.Sprintf("%q", raw), func(t *T) {
					if resp := t.Dial().Send(raw).WantRefused(want); len(resp.Interim) > 0 {
						t.Errorf("the server sends 100 before the %d", want)
					}
				})
			}
		}},
	}
}

// waiting returns the head of a request that waits for 100 Continue. length is the field line that says how
// long its body is.
func waiting(method, target, length string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n" + length + "\r\n\r\n"
}

// wantCertain sends the head of a request that waits for 100 Continue. The final answer must come instead,
// and the client must be able to read it even if it sends the body anyway. wantCertain returns false after a
// failure: each further one would take as long as the client waits.
func wantCertain(t *T, method, target, length string, want int) bool {
	t.Helper()
	check := func(t *T, c *Client) {
		t.Helper()
		resp := c.WantTo(method, want)
		if len(resp.Interim) > 0 {
			t.Errorf("the server sends 100 before the %d", want)
		}
		if !resp.Has("Connection", "close") {
			t.Errorf("the %d comes instead of 100 without Connection: close", want)
		}
		c.WantEnd()
	}
	name := fmt.Sprintf("%s %s, %s", method, target, length)
	return t.Sub(name, func(t *T) { check(t, t.Dial().Send(waiting(method, target, length))) }) &&
		t.Sub(name+", byte by byte", func(t *T) { check(t, t.Dial().Drip(waiting(method, target, length))) }) &&
		t.Sub(name+", and the body comes later", func(t *T) {
			c := t.Dial()
			c.Send(waiting(method, target, length)).AwaitFIN()
			c.Send("5\r\nhello\r\n0\r\n\r\n" + follow + strings.Repeat("x", 100_000)).AwaitRead()
			check(t, c)
		})
}

// certainAnswers has an answer of each status that is certain from the head alone.
func certainAnswers(t *T) {
	for _, length := range []string{"Content-Length: 5", "Transfer-Encoding: chunked"} {
		for _, r := range []struct {
			method, target string
			want           int
		}{
			{"POST", "/private/secret.txt", 403},
			{"GET", "/private/nothing-there", 403},
			{"GET", "/nothing-there", 404},
			{"HEAD", "/nothing-there", 404},
			{"POST", "/api/nothing-there", 404},
			{"POST", "/.dot", 404},
			{"PUT", "/plain.txt", 405},
			{"PUT", "/echo", 405},
			{"PUT", "/api/login", 405},
			{"BREW", "/plain.txt", 501},
		} {
			if !wantCertain(t, r.method, r.target, length, r.want) {
				return
			}
		}
	}
	wantCertain(t, "POST", "/api/login", "Content-Length: 4097", 413)
	before := t.Server.Stdout.Len()
	t.Dial().Send(waiting("PUT", "/plain.txt?certain-in-the-log", "Content-Length: 5")).WantRefused(405)
	t.Eventually("the access log has the answer", func() bool {
		for line := range strings.Lines(t.Server.Stdout.Since(before)) {
			if strings.Contains(line, "/plain.txt?certain-in-the-log") && strings.Contains(line, " 405 ") {
				return true
			}
		}
		return false
	})
}

// uncertainAnswers has requests whose answer depends on the body, and requests that do not wait for it.
func uncertainAnswers(t *T) {
	for _, r := range []struct {
		method, target, body string
		want                 int
	}{
		{"POST", "/echo", "hello", 200},
		{"POST", "/api/login", credentials, 200},
		{"POST", "/api/login", "hello", 400},
		{"POST", "/api/login", `{"username": "user0", "password": "wrong"}`, 403},
		{"POST", "/api/logout", "hello", 200},
		{"GET", "/plain.txt", "hello", 200},
		{"GET", "/sub", "hello", 301},
		{"OPTIONS", "/plain.txt", "hello", 204},
	} {
		t.Sub(r.method+" "+r.target, func(t *T) {
			c := t.Dial()
			c.Send(waiting(r.method, r.target, fmt.Sprintf("Content-Length: %d", len(r.body)))).WantContinue()
			c.Send(r.body).WantTo(r.method, r.want)
			c.WantKept()
			c.Close()
			c = t.Dial()
			c.Send(waiting(r.method, r.target, "Transfer-Encoding: chunked")).WantContinue()
			c.Send(chunk(fmt.Sprintf("%x", len(r.body)), r.body)+last).WantTo(r.method, r.want)
			c.WantKept()
		})
	}
	for _, r := range []struct {
		name, first, rest string
		end               func(*Client)
	}{
		{"the body has begun", waiting("PUT", "/plain.txt", "Content-Length: 5") + "h", "ello", (*Client).WantKept},
		{"no Expect", "PUT /plain.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", "hello", (*Client).WantKept},
		{"HTTP/1.0", "PUT /plain.txt HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", "hello", (*Client).WantEnd},
	} {
		t.Sub(r.name, func(t *T) {
			c := t.Dial()
			c.Send(r.first)
			c.AwaitRead()
			c.WantSilence(20 * time.Millisecond)
			c.Send(r.rest).Want(405)
			r.end(c)
		})
	}
}
