package h1

import "time"

// maxAnswers limits how many pipelined requests are answered with one send(2). Handling them
// must not keep an event loop from its other connections for long.
const maxAnswers = 64

// An answered is what the access log needs of a response that shares a send with a later one. By
// the time the response is sent, the request is gone.
type answered struct {
	method, target, version int // the lengths of the request's parts in exchange.texts
	status                  int
	size                    int64 // bytes of the response
	began                   int64 // when the first byte of the request arrived, in the time of now()
}

// answerNext prepares to answer the next pipelined request, so that its response shares a
// send(2) with those that are queued: the system call costs more than a small response. It
// returns false if the next request must wait until they are sent, because a response is large
// or the last, or because there is no request.
func (c *Conn) answerNext() bool {
	ex := c.ex
	if c.closing || ex.part < len(ex.res.parts) || len(ex.out) >= onePiece || len(ex.in.Unread()) == 0 ||
		ex.answers == maxAnswers-1 {
		return false
	}
	ex.keepForLog(c.worker.cfg.Log)
	ex.answers++
	ex.nextRequest()
	return true
}

// keepForLog keeps what the log needs of the response that was queued last.
func (ex *exchange) keepForLog(log Logger) {
	if log == nil {
		return
	}
	method, target, version := ex.req.bytes(ex.req.method), ex.req.Target(), ex.req.bytes(ex.req.version)
	ex.texts = append(append(append(ex.texts, method...), target...), version...)
	ex.kept = append(ex.kept, answered{
		method: len(method), target: len(target), version: len(version),
		status: ex.res.Status, size: int64(len(ex.out) - ex.queued), began: ex.began,
	})
}

// log writes the queued responses to the access log. cut says that they were not sent
// completely.
func (c *Conn) log(cut bool) {
	ex := c.ex
	logger := c.worker.cfg.Log
	if logger == nil {
		return
	}
	when, at := time.Now(), now()
	e := &c.worker.entry
	sent := ex.sent // bytes of the responses that are not logged yet
	texts := ex.texts
	next := func(n int) (text []byte) {
		text, texts = texts[:n], texts[n:]
		return text
	}
	for _, a := range ex.kept {
		*e = Entry{
			Peer: c.sock.Peer, Time: when, Took: time.Duration(at - a.began),
			Method: next(a.method), Target: next(a.target), Version: next(a.version),
			Status: a.status, Bytes: min(sent, a.size), Cut: cut && sent < a.size,
		}
		sent -= e.Bytes
		logger.Log(e)
	}
	if ex.res.Status != 0 { // otherwise the next request is not complete
		*e = Entry{
			Peer: c.sock.Peer, Time: when, Took: time.Duration(at - ex.began),
			Method: ex.req.bytes(ex.req.method), Target: ex.req.Target(), Version: ex.req.bytes(ex.req.version),
			Status: ex.res.Status, Bytes: sent, Cut: cut,
		}
		logger.Log(e)
	}
	*e = Entry{} // otherwise the worker would keep the request's memory alive until the next entry
}
