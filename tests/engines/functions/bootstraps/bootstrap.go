// A Lambda runtime in Go, of its standard library alone: answers each event with itself in a list.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

// call sends one request on a connection of its own; it returns the answer's request id and body.
func call(method, path, data string) (string, string) {
	api := os.Getenv("AWS_LAMBDA_RUNTIME_API")
	connection, err := net.Dial("tcp", api)
	if err != nil {
		os.Exit(2)
	}
	defer connection.Close()
	fmt.Fprintf(connection, "%s /2018-06-01/runtime/invocation/%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s",
		method, path, api, len(data), data)
	reader, id, length := bufio.NewReader(connection), "", 0
	for {
		line, err := reader.ReadString('\n')
		line = strings.TrimSpace(line)
		if err != nil || line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "lambda-runtime-aws-request-id":
			id = strings.TrimSpace(value)
		case "content-length":
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	body := make([]byte, length)
	io.ReadFull(reader, body)
	return id, string(body)
}

func main() {
	for {
		id, event := call("GET", "next", "")
		call("POST", id+"/response", "["+event+"]")
	}
}
