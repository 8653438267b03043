// Command gonet is a TCP client and two TCP servers.
//
//	gonet get FILE HOST PATH    asks the web server behind a network file, in HTTP/1.0
//	gonet conn FILE HOST PATH   the same with a net.Conn
//	gonet accept FILE COUNT     an echo server by accept name, one client after the other
//	gonet listen COUNT          an echo server on --listen, all clients at once
//
// It pins that os.OpenFile dials and accepts; that a network file can be made a net.Conn;
// and that net.FileListener works on a preopened socket with a goroutine a
// client, which takes non-blocking sockets and poll_oneoff.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

func main() {
	args := append(os.Args[1:], "", "", "", "")
	var err error
	switch args[0] {
	case "get":
		err = get(args[1], args[2], args[3])
	case "conn":
		err = conn(args[1], args[2], args[3])
	case "accept":
		err = accept(args[1], number(args[2]))
	case "listen":
		err = listen(number(args[1]))
	default:
		err = errors.New("usage: gonet get|conn FILE HOST PATH | accept FILE COUNT | listen COUNT")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gonet:", err)
		os.Exit(1)
	}
}

func number(text string) int {
	count, _ := strconv.Atoi(text)
	return count
}

func get(name, host, path string) error {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return fetch(file, host, path)
}

// conn does not use os.OpenFile: of a file it opened, net.FileConn panics (Go 1.27).
func conn(name, host, path string) error {
	fd, err := syscall.Open(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	// While one goroutine waits for the connection, the others go on.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return err
	}
	defer conn.Close()
	return fetch(conn, host, path)
}

func fetch(server io.ReadWriter, host, path string) error {
	if _, err := fmt.Fprintf(server, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, host); err != nil {
		return err
	}
	reply := bufio.NewReader(server)
	for number := 0; ; number++ {
		line, err := reply.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "\r\n" {
			break
		}
		if number == 0 {
			fmt.Println(line[:len(line)-2])
		}
	}
	_, err := io.Copy(os.Stdout, reply)
	return err
}

func accept(name string, count int) error {
	for number := 1; number <= count; number++ {
		client, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		bytes, err := io.Copy(client, client)
		if err != nil {
			return err
		}
		client.Close()
		fmt.Printf("client %d: %d bytes\n", number, bytes)
	}
	return nil
}

func listen(count int) error {
	listener, err := listener()
	if err != nil {
		return err
	}
	var clients sync.WaitGroup
	for range count {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		clients.Go(func() {
			defer client.Close()
			io.Copy(client, client)
		})
	}
	clients.Wait()
	fmt.Printf("%d clients\n", count)
	return nil
}

// listener is the first socket behind the directories.
func listener() (net.Listener, error) {
	for fd := 3; ; fd++ {
		var stat syscall.Stat_t
		if err := syscall.Fstat(fd, &stat); err != nil {
			return nil, fmt.Errorf("no listening socket (give one with --listen): %w", err)
		}
		if stat.Filetype == syscall.FILETYPE_SOCKET_STREAM {
			// While Accept waits, the other goroutines go on.
			if err := syscall.SetNonblock(fd, true); err != nil {
				return nil, err
			}
			return net.FileListener(os.NewFile(uintptr(fd), "listener"))
		}
	}
}
