// A service behind a Sallyport gateway. PORT and IDENTITY_PUBLIC_KEY are its settings.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"example.com/sallyport-example/identity"
)

func main() {
	// The name in the gateway's route, so that no assertion for another service is accepted here.
	guard, err := identity.NewVerifier(os.Getenv("IDENTITY_PUBLIC_KEY"), "go-example")
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/go/public", public)
	mux.Handle("/api/go/whoami", guard.RequireCaller(http.HandlerFunc(whoami), "user", "client"))
	mux.Handle("/api/go/ward", guard.RequireRole(http.HandlerFunc(ward), "doctor"))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		identity.Refuse(w, http.StatusNotFound, "NOT_FOUND", "There is nothing here")
	})

	port := os.Getenv("PORT")
	if port == "" {
		port = "5021"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %d\n", listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	log.Fatal(server.Serve(listener))
}

func public(w http.ResponseWriter, r *http.Request) {
	respond(w, map[string]any{"hello": "everyone"})
}

func whoami(w http.ResponseWriter, r *http.Request) {
	caller := identity.From(r)
	// One of the two is empty.
	respond(w, map[string]any{"caller": caller.Caller, "id": caller.UserID + caller.ClientID, "roles": caller.Roles})
}

func ward(w http.ResponseWriter, r *http.Request) {
	respond(w, map[string]any{"doctor": identity.From(r).Email})
}

func respond(w http.ResponseWriter, content any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(content)
}
