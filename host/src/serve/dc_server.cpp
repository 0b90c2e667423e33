// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
//
// Ownership: a Session is kept alive by the handler or job that will continue it. All of its
// members are touched by the socket thread alone; a worker gets the body by value and posts the
// answer back.
#include "kestrel/serve/dc_server.hpp"

#include <utility> // before asio: Boost 1.74 with C++20 lacks the include

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <array>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <malloc.h>

#include <nlohmann/json.hpp>

#include "kestrel/serve/oip.hpp"

#ifndef KESTREL_VERSION
#define KESTREL_VERSION "unknown"
#endif

namespace kestrel::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;

constexpr const char *kInputName = "image";
constexpr const char *kProbabilities = "probabilities";
constexpr const char *kClass = "class";
constexpr std::uint32_t kMaxHeaderBytes = 8192;
/// After an answer that ends the connection, what the peer still sends is read and dropped for this
/// long, so that closing does not reset the connection before the peer has read the answer.
constexpr std::chrono::milliseconds kLinger{2000};
constexpr unsigned kRetryAfterSeconds = 1;
/// Bodies up to this size are parsed by all workers at a time.
constexpr std::size_t kSmallBody = std::size_t{1} << 20;
constexpr std::chrono::milliseconds kNoMemoryPause{10};
constexpr const char *kNoMemory = "out of memory; try again later";
/// A connection that has owed a request for this long, or the rest of one, makes place for a new
/// one when all are taken.
constexpr std::chrono::milliseconds kIdleGrace{1000};
constexpr std::chrono::milliseconds kBodyGrace{3000};

struct Reply {
  http::status status = http::status::ok;
  std::string body;
  std::string allow;      ///< methods allowed, for 405
  std::size_t images = 0; ///< classified in this request
};

Reply error_reply(http::status status, std::string_view message) {
  return Reply{status, error_json(message), {}, 0};
}

/// The answer when there is no memory, even for the words.
Reply no_memory() noexcept {
  Reply reply;
  reply.status = http::status::service_unavailable;
  try {
    reply.body = error_json(kNoMemory);
  } catch (const std::bad_alloc &) {
    reply.body.clear();
  }
  return reply;
}

http::status status_of(ErrorCode code) {
  switch (code) {
  case ErrorCode::kInvalidArgument:
  case ErrorCode::kParse:
  case ErrorCode::kUnsupported:
  case ErrorCode::kShapeMismatch:
    return http::status::bad_request;
  case ErrorCode::kNotFound:
    return http::status::not_found;
  case ErrorCode::kResourceLimit:
    return http::status::payload_too_large;
  case ErrorCode::kUnavailable:
  case ErrorCode::kTimeout:
    return http::status::service_unavailable;
  default:
    return http::status::internal_server_error;
  }
}

enum class Endpoint { kServer, kLive, kReady, kModel, kModelReady, kInfer };

/// Path segments of a request target, percent-decoded; empty when it is not a path.
std::optional<std::vector<std::string>> segments(std::string_view target) {
  target = target.substr(0, target.find_first_of("?#"));
  if (target.empty() || target.front() != '/') {
    return std::nullopt;
  }
  std::vector<std::string> out;
  std::string current;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  for (std::size_t i = 1; i < target.size(); ++i) {
    if (target[i] == '/') {
      out.push_back(std::move(current));
      current.clear();
    } else if (target[i] == '%') {
      const int high = i + 2 < target.size() ? digit(target[i + 1]) : -1;
      const int low = high >= 0 ? digit(target[i + 2]) : -1;
      if (low < 0) {
        return std::nullopt;
      }
      current.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      current.push_back(target[i]);
    }
  }
  out.push_back(std::move(current)); // a final slash gives an empty last segment
  return out;
}

/// The path of a target in absolute form ("http://host/path"), any other as it is.
std::string_view origin_form(std::string_view target) {
  constexpr std::string_view kScheme = "http://";
  if (target.size() < kScheme.size() ||
      !beast::iequals({target.data(), kScheme.size()}, {kScheme.data(), kScheme.size()})) {
    return target;
  }
  target.remove_prefix(kScheme.size());
  const std::size_t path = target.find_first_of("/?#");
  return path == std::string_view::npos || target[path] != '/' ? "/" : target.substr(path);
}

/// Why it is uncertain where this request ends or whom it is for (RFC 9112, 3.2 and 6.1); after
/// such a request nothing on the connection can be trusted.
template <typename Request> std::optional<std::string> framing_error(const Request &request) {
  const auto codings = request.equal_range(http::field::transfer_encoding);
  if (codings.first != codings.second) {
    const auto value = codings.first->value();
    if (std::next(codings.first) != codings.second || !beast::iequals(value, "chunked")) {
      return "transfer encodings other than one \"chunked\" are not supported";
    }
    if (request.find(http::field::content_length) != request.end()) {
      return "both Transfer-Encoding and Content-Length are given";
    }
  }
  const auto hosts = request.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && request.version() >= 11)) {
    return "an HTTP/1.1 request has one Host field";
  }
  return std::nullopt;
}

/// The endpoint that a request means, or the reply that refuses it.
std::variant<Endpoint, Reply> route(http::verb method, std::string_view target,
                                    const ModelInfo &model) {
  const auto path = segments(origin_form(target));
  if (!path) {
    return error_reply(http::status::bad_request, "the request target is not a path");
  }
  const auto unknown = [&] {
    return error_reply(http::status::not_found,
                       fmt::format("no such endpoint: {}",
                                   target.substr(0, std::min<std::size_t>(200, target.size()))));
  };
  const std::vector<std::string> &p = *path;
  Endpoint endpoint = Endpoint::kServer;
  if (p == std::vector<std::string>{"v2"}) {
    endpoint = Endpoint::kServer;
  } else if (p == std::vector<std::string>{"v2", "health", "live"}) {
    endpoint = Endpoint::kLive;
  } else if (p == std::vector<std::string>{"v2", "health", "ready"}) {
    endpoint = Endpoint::kReady;
  } else if (p.size() >= 3 && p[0] == "v2" && p[1] == "models") {
    std::size_t rest = 3;
    const bool versioned = p.size() >= 5 && p[3] == "versions";
    if (versioned) {
      rest = 5;
    }
    if (p.size() == rest) {
      endpoint = Endpoint::kModel;
    } else if (p.size() == rest + 1 && p[rest] == "ready") {
      endpoint = Endpoint::kModelReady;
    } else if (p.size() == rest + 1 && p[rest] == "infer") {
      endpoint = Endpoint::kInfer;
    } else {
      return unknown();
    }
    if (p[2] != model.name) {
      return error_reply(
          http::status::not_found,
          fmt::format("unknown model '{}'; this server has '{}'", p[2].substr(0, 100), model.name));
    }
    if (versioned && p[4] != model.version) {
      return error_reply(http::status::not_found,
                         fmt::format("model '{}' has no version '{}', only '{}'", model.name,
                                     p[4].substr(0, 100), model.version));
    }
  } else {
    return unknown();
  }
  const bool post = endpoint == Endpoint::kInfer;
  if (post ? method != http::verb::post : method != http::verb::get && method != http::verb::head) {
    Reply reply =
        error_reply(http::status::method_not_allowed,
                    fmt::format("this endpoint takes {} only", post ? "POST" : "GET and HEAD"));
    reply.allow = post ? "POST" : "GET, HEAD";
    return reply;
  }
  return endpoint;
}

Json model_metadata(const ModelInfo &model) {
  Json shape = Json::array({-1});
  for (const std::int64_t extent : model.image_shape) {
    shape.push_back(extent);
  }
  return {{"name", model.name},
          {"versions", {model.version}},
          {"platform", model.platform},
          {"inputs", {{{"name", kInputName}, {"datatype", "FP32"}, {"shape", shape}}}},
          {"outputs",
           {{{"name", kProbabilities}, {"datatype", "FP32"}, {"shape", {-1, model.classes}}},
            {{"name", kClass}, {"datatype", "INT64"}, {"shape", {-1}}}}}};
}

/// Pixels as the model wants them: FP32 0..1 as they are, UINT8 0..255 and INT8 (pixel - 128)
/// scaled.
Result<std::vector<float>> pixels_of(Tensor &tensor) {
  if (auto *floats = std::get_if<std::vector<float>>(&tensor.data)) {
    for (std::size_t i = 0; i < floats->size(); ++i) {
      if (!((*floats)[i] >= 0.0F && (*floats)[i] <= 1.0F)) {
        return fail(ErrorCode::kInvalidArgument,
                    "tensor '{}': element {} is {}; FP32 pixels lie in 0..1 (send 0..255 as UINT8)",
                    tensor.name, i, (*floats)[i]);
      }
    }
    return std::move(*floats);
  }
  std::vector<float> out;
  out.reserve(tensor.size());
  if (const auto *bytes = std::get_if<std::vector<std::uint8_t>>(&tensor.data)) {
    for (const std::uint8_t value : *bytes) {
      out.push_back(static_cast<float>(value) / 255.0F);
    }
    return out;
  }
  if (const auto *bytes = std::get_if<std::vector<std::int8_t>>(&tensor.data)) {
    for (const std::int8_t value : *bytes) {
      out.push_back(static_cast<float>(value + 128) / 255.0F);
    }
    return out;
  }
  return fail(ErrorCode::kInvalidArgument, "tensor '{}': datatype {} is not FP32, UINT8 or INT8",
              tensor.name, to_string(tensor.datatype()));
}

/// Reads a body. The tree of a large one takes up to 16 times its size, so that one is read at a
/// time, however many workers there are.
Result<InferRequest> read_request(std::string_view body, const DcServerOptions &options,
                                  std::mutex &large_body) {
  const std::uint64_t limit =
      std::max<std::uint64_t>(kMaxJsonTree, std::uint64_t{16} * options.max_body_bytes);
  if (body.size() <= kSmallBody) {
    return parse_infer_request(body, limit);
  }
  const std::lock_guard lock(large_body);
  auto request = parse_infer_request(body, limit);
  ::malloc_trim(0); // the tree's memory would stay with this thread's arena
  return request;
}

/// True for UTF-8 text.
bool is_utf8(const std::string &text) {
  try {
    (void)Json(text).dump();
    return true;
  } catch (const Json::type_error &) {
    return false;
  }
}

Result<Reply> infer(Backend &backend, std::string_view body, const DcServerOptions &options,
                    std::mutex &large_body) {
  const ModelInfo &model = backend.info();
  const std::size_t max_batch = options.max_batch;
  KESTREL_ASSIGN(InferRequest request, read_request(body, options, large_body));
  if (request.inputs.size() != 1 || request.inputs.front().name != kInputName) {
    return fail(ErrorCode::kInvalidArgument, "model '{}' takes one input tensor, named '{}'",
                model.name, kInputName);
  }
  Tensor &input = request.inputs.front();
  const auto is_batch_of = [&](const std::vector<std::int64_t> &image) {
    return !image.empty() &&
           std::equal(image.begin(), image.end(), input.shape.begin() + 1, input.shape.end());
  };
  if (!is_batch_of(model.image_shape) && !is_batch_of(model.other_image_shape)) {
    return fail(ErrorCode::kShapeMismatch, "tensor '{}': shape [{}], model '{}' takes [N, {}]",
                input.name, fmt::join(input.shape, ", "), model.name,
                fmt::join(model.image_shape, ", "));
  }
  const auto count = static_cast<std::size_t>(input.shape.front());
  if (count > max_batch) {
    return fail(ErrorCode::kInvalidArgument, "tensor '{}': {} images in one request, at most {}",
                input.name, count, max_batch);
  }
  bool want_probabilities = request.outputs.empty();
  bool want_class = request.outputs.empty();
  for (const std::string &name : request.outputs) {
    if (name != kProbabilities && name != kClass) {
      return fail(ErrorCode::kInvalidArgument, "model '{}' has no output '{}', only '{}' and '{}'",
                  model.name, name, kProbabilities, kClass);
    }
    (name == kClass ? want_class : want_probabilities) = true;
  }
  KESTREL_ASSIGN(const std::vector<float> images, pixels_of(input));

  // From here on every failure is the server's own.
  auto classified = backend.classify(images, count);
  if (!classified) {
    return fail(ErrorCode::kInternal, "{}", classified.error().message);
  }
  std::vector<float> &probabilities = *classified;
  const auto classes = static_cast<std::size_t>(model.classes);
  if (probabilities.size() != count * classes ||
      !std::all_of(probabilities.begin(), probabilities.end(),
                   [](float p) { return std::isfinite(p); })) {
    return fail(ErrorCode::kInternal, "model '{}' gave a result that is not {} x {} finite numbers",
                model.name, count, classes);
  }
  InferResponse response{model.name, model.version, std::move(request.id), {}};
  std::vector<std::int64_t> winners;
  for (std::size_t i = 0; want_class && i < count; ++i) {
    const auto row = probabilities.begin() + static_cast<std::ptrdiff_t>(i * classes);
    winners.push_back(std::max_element(row, row + model.classes) - row);
  }
  if (want_probabilities) {
    response.outputs.push_back(Tensor{kProbabilities,
                                      {static_cast<std::int64_t>(count), model.classes},
                                      std::move(probabilities)});
  }
  if (want_class) {
    response.outputs.push_back(
        Tensor{kClass, {static_cast<std::int64_t>(count)}, std::move(winners)});
  }
  return Reply{http::status::ok, to_json(response), {}, count};
}

class Session;

/// An infer request waiting for a worker.
struct Job {
  std::shared_ptr<Session> session;
  std::string body;
  Clock::time_point queued;
};

} // namespace

class DcServer::Impl {
public:
  Impl(const DcServerOptions &options, std::vector<std::unique_ptr<Backend>> backends)
      : options_(options), model_(backends.front()->info()), backends_(std::move(backends)) {}
  Impl(const Impl &) = delete;
  Impl &operator=(const Impl &) = delete;
  ~Impl() { stop(); }

  Result<void> listen();
  void start_threads();
  void stop();

  // Called on the socket thread.
  Reply answer(Endpoint endpoint) const;
  /// Takes the job, or says why not.
  std::optional<Reply> submit(Job job);
  void count(const Reply &reply);
  void accept();
  /// Closes the connection that has been expendable for longest, if one is.
  bool make_place();

  const DcServerOptions options_;
  const ModelInfo model_;
  std::vector<std::unique_ptr<Backend>> backends_;

  std::atomic<bool> draining_ = false;
  std::atomic<std::size_t> accepted_ = 0;                ///< jobs taken and not yet answered
  std::mutex large_body_;                                ///< one such body is parsed at a time
  bool accepting_ = false;                               ///< socket thread only
  std::size_t open_ = 0;                                 ///< sessions, socket thread only
  std::map<Session *, std::weak_ptr<Session>> sessions_; ///< socket thread only

  mutable std::mutex stats_mutex_;
  DcServerStats stats_;

  std::mutex queue_mutex_;
  std::condition_variable queue_ready_;
  std::deque<Job> queue_;
  bool stopping_ = false;

  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
  tcp::acceptor acceptor_{io_};
  asio::steady_timer accept_pause_{io_};
  std::uint16_t port_ = 0;
  std::thread socket_thread_;
  std::vector<std::thread> workers_;

private:
  void work(Backend &backend);
};

namespace {

/// One connection.
class Session : public std::enable_shared_from_this<Session> {
public:
  Session(tcp::socket socket, DcServer::Impl &server);
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;
  ~Session();

  void start();
  /// Answers 503 and closes: too many connections.
  void refuse();
  /// Answers the request at hand. Socket thread.
  void respond(Reply reply);
  void close();
  /// From when on the connection may be closed for another one, because it owes a request or the
  /// rest of it; nothing while a request is served.
  [[nodiscard]] std::optional<Clock::time_point> expendable() const { return expendable_; }

private:
  void read_header();
  void on_header(beast::error_code error);
  void read_body();
  void on_body(beast::error_code error);
  void dispatch();
  /// Answers what cannot be read on from; the connection ends after it.
  void respond_and_end(Reply reply);
  /// The reply to a request that cannot be read, if it deserves one.
  static std::optional<Reply> reply_to(beast::error_code error, std::size_t max_body);
  void on_written(beast::error_code error);
  void linger();

  DcServer::Impl &server_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_{kMaxHeaderBytes + std::size_t{64} * 1024};
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
  std::variant<Endpoint, Reply> route_ = Endpoint::kServer;
  bool keep_alive_ = false;
  bool head_ = false;    ///< the request at hand is HEAD: its answer has no body
  bool counted_ = false; ///< in server_.accepted_
  std::optional<Clock::time_point> expendable_;
  std::array<char, 16384> dropped_{};
  std::size_t linger_budget_ = 0;
};

Session::Session(tcp::socket socket, DcServer::Impl &server)
    : server_(server), stream_(std::move(socket)) {
  ++server_.open_;
}

Session::~Session() {
  if (counted_) {
    --server_.accepted_;
  }
  --server_.open_;
  server_.sessions_.erase(this);
}

void Session::start() {
  server_.sessions_.emplace(this, weak_from_this());
  beast::error_code ignored;
  stream_.socket().set_option(tcp::no_delay(true), ignored);
  read_header();
}

void Session::refuse() {
  server_.sessions_.emplace(this, weak_from_this());
  respond_and_end(error_reply(
      http::status::service_unavailable,
      fmt::format("{} connections are open, no more are taken", server_.options_.max_connections)));
}

void Session::close() {
  beast::error_code ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
  stream_.close();
}

void Session::read_header() {
  parser_.emplace();
  parser_->header_limit(kMaxHeaderBytes);
  parser_->body_limit(server_.options_.max_body_bytes);
  head_ = false;
  expendable_ = Clock::now() + kIdleGrace;
  stream_.expires_after(server_.options_.idle_timeout);
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = shared_from_this()](beast::error_code error, std::size_t) {
                            self->on_header(error);
                          });
}

std::optional<Reply> Session::reply_to(beast::error_code error, std::size_t max_body) {
  if (error == http::error::body_limit) {
    return error_reply(http::status::payload_too_large,
                       fmt::format("the request body is larger than {} bytes", max_body));
  }
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return error_reply(http::status::request_header_fields_too_large,
                       fmt::format("the request header is larger than {} bytes", kMaxHeaderBytes));
  }
  if (error == http::error::end_of_stream ||
      error.category() != http::make_error_code(http::error::end_of_stream).category()) {
    return std::nullopt; // the peer has gone, or was too slow
  }
  return error_reply(http::status::bad_request,
                     fmt::format("not an HTTP request: {}", error.message()));
}

void Session::on_header(beast::error_code error) {
  expendable_ = Clock::now() + kBodyGrace;
  head_ = parser_->get().method() == http::verb::head;
  if (error) {
    if (auto reply = reply_to(error, server_.options_.max_body_bytes)) {
      respond_and_end(std::move(*reply));
    } else {
      close();
    }
    return;
  }
  const auto &request = parser_->get();
  if (auto refusal = framing_error(request)) {
    respond_and_end(error_reply(http::status::bad_request, *refusal));
    return;
  }
  keep_alive_ = request.keep_alive();
  const auto target = request.target();
  route_ = route(request.method(), {target.data(), target.size()}, server_.model_);
  if (const auto *endpoint = std::get_if<Endpoint>(&route_);
      endpoint != nullptr && *endpoint == Endpoint::kInfer) {
    if (request.find("Inference-Header-Content-Length") != request.end()) {
      route_ = error_reply(http::status::bad_request,
                           "the binary tensor extension is not supported; send JSON tensors");
    } else if (const auto encoding = request.find(http::field::content_encoding);
               encoding != request.end() && !beast::iequals(encoding->value(), "identity")) {
      route_ = error_reply(http::status::bad_request,
                           "content encodings are not supported; send plain JSON");
    }
  }
  stream_.expires_after(server_.options_.body_timeout);
  if (beast::iequals(request[http::field::expect], "100-continue")) {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(stream_, asio::buffer(kContinue.data(), kContinue.size()),
                      [self = shared_from_this()](beast::error_code failed, std::size_t) {
                        failed ? self->close() : self->read_body();
                      });
    return;
  }
  read_body();
}

void Session::read_body() {
  http::async_read(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](beast::error_code error, std::size_t) { self->on_body(error); });
}

void Session::on_body(beast::error_code error) {
  if (error) {
    if (auto reply = reply_to(error, server_.options_.max_body_bytes)) {
      respond_and_end(std::move(*reply));
    } else {
      close();
    }
    return;
  }
  stream_.expires_never();
  expendable_.reset();
  dispatch();
}

void Session::dispatch() {
  if (auto *refusal = std::get_if<Reply>(&route_)) {
    respond(std::move(*refusal));
    return;
  }
  const Endpoint endpoint = std::get<Endpoint>(route_);
  if (endpoint != Endpoint::kInfer) {
    respond(server_.answer(endpoint));
    return;
  }
  counted_ = true;
  ++server_.accepted_;
  auto refused =
      server_.submit(Job{shared_from_this(), std::move(parser_->get().body()), Clock::now()});
  if (refused) {
    counted_ = false;
    --server_.accepted_;
    respond(std::move(*refused));
  }
}

void Session::respond_and_end(Reply reply) {
  keep_alive_ = false;
  respond(std::move(reply));
}

void Session::respond(Reply reply) {
  server_.count(reply);
  response_ = {};
  response_.version(11);
  response_.result(reply.status);
  response_.set(http::field::server, "kestrel/" KESTREL_VERSION);
  response_.set(http::field::content_type, "application/json");
  if (!reply.allow.empty()) {
    response_.set(http::field::allow, reply.allow);
  }
  if (reply.status == http::status::service_unavailable) {
    response_.set(http::field::retry_after, std::to_string(kRetryAfterSeconds));
  }
  response_.body() = std::move(reply.body);
  response_.prepare_payload();
  if (head_) { // the length that GET would give stays
    response_.body().clear();
  }
  response_.keep_alive(keep_alive_ && !server_.draining_);
  stream_.expires_after(server_.options_.write_timeout);
  http::async_write(stream_, response_,
                    [self = shared_from_this()](beast::error_code error, std::size_t) {
                      self->on_written(error);
                    });
}

void Session::on_written(beast::error_code error) {
  if (counted_) {
    counted_ = false;
    --server_.accepted_;
  }
  if (error) {
    close();
  } else if (response_.keep_alive()) {
    read_header();
  } else {
    beast::error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    linger_budget_ = 2 * server_.options_.max_body_bytes;
    stream_.expires_after(kLinger);
    linger();
  }
}

void Session::linger() {
  stream_.async_read_some(asio::buffer(dropped_),
                          [self = shared_from_this()](beast::error_code error, std::size_t bytes) {
                            if (error || bytes >= self->linger_budget_) {
                              self->close();
                              return;
                            }
                            self->linger_budget_ -= bytes;
                            self->linger();
                          });
}

} // namespace

Result<void> DcServer::Impl::listen() {
  beast::error_code error;
  const auto address = asio::ip::make_address(options_.address, error);
  if (error) {
    return fail(ErrorCode::kInvalidArgument, "'{}' is not an IP address to listen on",
                options_.address);
  }
  const tcp::endpoint endpoint(address, options_.port);
  const auto cannot = [&](const char *what) {
    return fail(ErrorCode::kIo, "cannot {} {} port {}: {}", what, options_.address, options_.port,
                error.message());
  };
  if (acceptor_.open(endpoint.protocol(), error); error) {
    return cannot("open a socket for");
  }
  acceptor_.set_option(asio::socket_base::reuse_address(true), error);
  if (acceptor_.bind(endpoint, error); error) {
    return cannot("bind to");
  }
  if (acceptor_.listen(asio::socket_base::max_listen_connections, error); error) {
    return cannot("listen on");
  }
  port_ = acceptor_.local_endpoint(error).port();
  if (error) {
    return cannot("learn the port of");
  }
  return {};
}

void DcServer::Impl::start_threads() {
  accept();
  for (auto &backend : backends_) {
    workers_.emplace_back([this, &backend] { work(*backend); });
  }
  socket_thread_ = std::thread([this] {
    for (;;) {
      try {
        if (!accepting_ && acceptor_.is_open()) {
          accept();
        }
        io_.run();
        return;
      } catch (const std::bad_alloc &) {
        // The handler's session went with it; the others go on.
        std::this_thread::sleep_for(kNoMemoryPause);
      }
    }
  });
}

void DcServer::Impl::accept() {
  acceptor_.async_accept([this](beast::error_code error, tcp::socket socket) {
    accepting_ = false;
    if (!acceptor_.is_open()) {
      return;
    }
    if (error) { // out of descriptors, or the peer gave up: go on, but do not spin
      accept_pause_.expires_after(std::chrono::milliseconds(20));
      accept_pause_.async_wait([this](beast::error_code stopped) {
        if (!stopped) {
          accept();
        }
      });
      accepting_ = true; // by the timer
      return;
    }
    {
      const std::lock_guard lock(stats_mutex_);
      ++stats_.connections;
    }
    try {
      const bool full = open_ >= options_.max_connections && !make_place();
      if (open_ < 2 * options_.max_connections) {
        auto session = std::make_shared<Session>(std::move(socket), *this);
        full ? session->refuse() : session->start();
      } // else: closed without a word, so that being refused cannot pile up either
    } catch (const std::bad_alloc &) { // this connection is closed, others go on
    }
    accept();
  });
  accepting_ = true; // a throw above leaves it false
}

bool DcServer::Impl::make_place() {
  std::shared_ptr<Session> longest;
  for (const auto &[unused, weak] : sessions_) {
    const auto session = weak.lock();
    if (session && session->expendable() &&
        (!longest || *session->expendable() < *longest->expendable())) {
      longest = session;
    }
  }
  if (!longest || Clock::now() < *longest->expendable()) {
    return false;
  }
  longest->close();
  return true;
}

Reply DcServer::Impl::answer(Endpoint endpoint) const {
  Reply reply;
  const bool ready = !draining_;
  switch (endpoint) {
  case Endpoint::kServer:
    reply.body =
        Json{{"name", "kestrel"}, {"version", KESTREL_VERSION}, {"extensions", Json::array()}}
            .dump();
    break;
  case Endpoint::kLive:
    reply.body = Json{{"live", true}}.dump();
    break;
  case Endpoint::kReady:
    reply.body = Json{{"ready", ready}}.dump();
    reply.status = ready ? http::status::ok : http::status::service_unavailable;
    break;
  case Endpoint::kModel:
    reply.body = model_metadata(model_).dump();
    break;
  case Endpoint::kModelReady:
    reply.body = Json{{"name", model_.name}, {"ready", ready}}.dump();
    reply.status = ready ? http::status::ok : http::status::service_unavailable;
    break;
  case Endpoint::kInfer:
    break; // goes through submit()
  }
  return reply;
}

std::optional<Reply> DcServer::Impl::submit(Job job) {
  if (draining_) {
    return error_reply(http::status::service_unavailable, "the server is draining");
  }
  {
    const std::lock_guard lock(queue_mutex_);
    if (queue_.size() >= options_.queue_limit) {
      return error_reply(http::status::service_unavailable,
                         fmt::format("the queue is full: {} requests are waiting", queue_.size()));
    }
    queue_.push_back(std::move(job));
  }
  queue_ready_.notify_one();
  return std::nullopt;
}

void DcServer::Impl::count(const Reply &reply) {
  const std::lock_guard lock(stats_mutex_);
  ++stats_.requests;
  const auto status = static_cast<unsigned>(reply.status);
  if (reply.images != 0) {
    ++stats_.inferences;
    stats_.images += reply.images;
  }
  if (reply.status == http::status::service_unavailable) {
    ++stats_.rejected;
  } else if (status >= 500) {
    ++stats_.server_errors;
  } else if (status >= 400) {
    ++stats_.client_errors;
  }
}

void DcServer::Impl::work(Backend &backend) {
  for (;;) {
    Job job;
    {
      std::unique_lock lock(queue_mutex_);
      queue_ready_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) {
        return;
      }
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    Reply reply;
    if (Clock::now() - job.queued > options_.queue_timeout) {
      reply = error_reply(http::status::service_unavailable, "waited too long in the queue");
    } else {
      try {
        auto answered = infer(backend, job.body, options_, large_body_);
        reply = answered ? std::move(answered).value()
                         : error_reply(status_of(answered.error().code), answered.error().message);
      } catch (const std::bad_alloc &) {
        reply = no_memory();
      } catch (const std::exception &e) {
        reply = error_reply(http::status::internal_server_error, e.what());
      }
    }
    job.body = {};
    // The session dies on the socket thread, not here: its reference moves into the handler.
    struct Answer {
      std::shared_ptr<Session> session;
      Reply reply;
    };
    for (std::shared_ptr<Answer> answer;;) {
      try {
        if (!answer) {
          answer = std::make_shared<Answer>();
          answer->session = std::move(job.session);
          answer->reply = std::move(reply);
        }
        asio::post(io_, [answer] {
          const std::shared_ptr<Session> session = std::move(answer->session);
          session->respond(std::move(answer->reply));
        });
        break;
      } catch (const std::bad_alloc &) { // the queue is bounded; some is given back soon
        std::this_thread::sleep_for(kNoMemoryPause);
      }
    }
  }
}

void DcServer::Impl::stop() {
  {
    const std::lock_guard lock(queue_mutex_);
    stopping_ = true;
  }
  queue_ready_.notify_all();
  for (std::thread &worker : workers_) {
    worker.join();
  }
  workers_.clear();
  if (socket_thread_.joinable()) {
    asio::post(io_, [this] {
      beast::error_code ignored;
      acceptor_.close(ignored);
      accept_pause_.cancel();
      const std::map<Session *, std::weak_ptr<Session>> sessions = sessions_;
      for (const auto &[unused, weak] : sessions) {
        if (const auto session = weak.lock()) {
          session->close();
        }
      }
      work_.reset();
    });
    // Closed sockets end every pending operation, so run() comes to its end by itself.
    socket_thread_.join();
  }
  queue_.clear(); // before the io_context that their sockets belong to
}

DcServer::DcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DcServer::~DcServer() = default;

Result<std::unique_ptr<DcServer>> DcServer::start(const DcServerOptions &options,
                                                  const BackendFactory &factory) {
  if (options.workers < 1 || options.workers > 256 || options.queue_limit < 1 ||
      options.max_connections < 1 || options.max_batch < 1 || options.max_body_bytes < 1) {
    return fail(ErrorCode::kInvalidArgument,
                "DC server: workers (1 to 256), queue limit, connections, batch and body size must "
                "be at least 1");
  }
  std::vector<std::unique_ptr<Backend>> backends;
  for (std::size_t i = 0; i < options.workers; ++i) {
    KESTREL_ASSIGN(auto backend, factory());
    if (!is_utf8(backend->info().name)) {
      return fail(ErrorCode::kInvalidArgument,
                  "DC server: the model's name is not UTF-8 text, which URLs and answers are made "
                  "of; give another with --name");
    }
    backends.push_back(std::move(backend));
  }
  auto impl = std::make_unique<Impl>(options, std::move(backends));
  KESTREL_TRY(impl->listen());
  try {
    impl->start_threads();
  } catch (const std::system_error &e) {
    return fail(ErrorCode::kResourceLimit,
                "DC server: a thread cannot be started, the limit of processes (ulimit -u) or of "
                "memory is reached ({})",
                e.code().message());
  }
  return std::unique_ptr<DcServer>(new DcServer(std::move(impl)));
}

std::uint16_t DcServer::port() const noexcept { return impl_->port_; }

std::string DcServer::url() const {
  const bool v6 = impl_->options_.address.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", v6 ? "[" : "", impl_->options_.address, v6 ? "]" : "",
                     impl_->port_);
}

const ModelInfo &DcServer::model() const noexcept { return impl_->model_; }

DcServerStats DcServer::stats() const {
  const std::lock_guard lock(impl_->stats_mutex_);
  return impl_->stats_;
}

void DcServer::begin_drain() { impl_->draining_ = true; }

bool DcServer::drain(std::chrono::milliseconds timeout) {
  begin_drain();
  const auto end = Clock::now() + timeout;
  // Only what was accepted counts: requests that are refused or half sent hold up nothing. An
  // answer still under way to its reader is not given yet.
  const auto settled = std::min(end, Clock::now() + std::chrono::milliseconds(20)); // on their way
  while (Clock::now() < settled || (impl_->accepted_ != 0 && Clock::now() < end)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return impl_->accepted_ == 0;
}

bool DcServer::drain_and_stop(std::chrono::milliseconds timeout) {
  const bool drained = drain(timeout);
  impl_->stop();
  return drained;
}

} // namespace kestrel::serve
