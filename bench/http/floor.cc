// The floor: what a keep-alive answer costs when nothing is parsed, routed or counted.
//
// One thread, one epoll set. For every "\r\n\r\n" that is read one prepared answer is written; the
// answers of one read leave in one send. Every server of the bench is measured as a ratio to this.
// Usage: bench_floor PORT BODY_BYTES
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

int Listen(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(fd, 1024) != 0) {
    std::perror("bench_floor: listen");
    std::exit(1);
  }
  return fd;
}

void Watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

void AcceptAll(int epoll, int listener) {
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    Watch(epoll, fd);
  }
}

// Answers every head in what can be read; a head split over reads is not the load's business.
void Answer(int fd, std::string_view answer, std::string& out) {
  static char buffer[64 * 1024];
  const ssize_t bytes = recv(fd, buffer, sizeof(buffer), 0);
  if (bytes <= 0) {
    if (bytes == 0 || errno != EAGAIN) close(fd);
    return;
  }
  std::string_view input(buffer, static_cast<size_t>(bytes));
  out.clear();
  for (size_t at = 0; (at = input.find("\r\n\r\n", at)) != std::string_view::npos; at += 4) {
    out += answer;
  }
  if (send(fd, out.data(), out.size(), MSG_NOSIGNAL) < 0) close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: bench_floor PORT BODY_BYTES\n");
    return 2;
  }
  const size_t body_bytes = std::strtoul(argv[2], nullptr, 10);
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body_bytes) +
                             "\r\nContent-Type: application/octet-stream\r\n\r\n" +
                             std::string(body_bytes, 'x');
  const int listener = Listen(std::atoi(argv[1]));
  const int epoll = epoll_create1(0);
  Watch(epoll, listener);
  std::string out;
  for (;;) {
    epoll_event events[512];
    const int count = epoll_wait(epoll, events, 512, -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd == listener) {
        AcceptAll(epoll, listener);
      } else {
        Answer(events[i].data.fd, answer, out);
      }
    }
  }
}
