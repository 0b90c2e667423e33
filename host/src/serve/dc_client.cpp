// SPDX-License-Identifier: Apache-2.0
// Copyright The Kestrel Authors
#include "kestrel/serve/dc_client.hpp"

#include <utility> // before asio: Boost 1.74 with C++20 lacks the include

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <future>
#include <string_view>
#include <thread>

#include <netdb.h>

#include <nlohmann/json.hpp>

namespace kestrel::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using Response = http::response<http::string_body>;

struct Address {
  std::string host;
  std::uint16_t port = 80;
};

Result<Address> parse_url(const std::string &url) {
  constexpr std::string_view kScheme = "http://";
  std::string_view rest = url;
  if (rest.starts_with("https://")) {
    return fail(ErrorCode::kUnsupported, "{}: https is not supported, http is", url);
  }
  const auto wrong = [&] {
    return fail(ErrorCode::kInvalidArgument, "'{}' is not a DC address like http://127.0.0.1:8000",
                url);
  };
  if (!rest.starts_with(kScheme)) {
    return wrong();
  }
  rest.remove_prefix(kScheme.size());
  if (rest.ends_with('/')) {
    rest.remove_suffix(1);
  }
  Address address;
  std::string_view port;
  if (rest.starts_with('[')) {
    const std::size_t end = rest.find(']');
    if (end == std::string_view::npos) {
      return wrong();
    }
    address.host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
    if (!rest.empty() && !rest.starts_with(':')) {
      return wrong();
    }
    port = rest.empty() ? rest : rest.substr(1);
  } else {
    const std::size_t colon = rest.find(':');
    address.host = rest.substr(0, colon);
    port = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
    if (colon != std::string_view::npos && port.empty()) {
      return wrong();
    }
  }
  if (address.host.empty() || address.host.find_first_of("/?#@ \r\n\t") != std::string::npos) {
    return wrong();
  }
  if (!port.empty()) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), value);
    if (error != std::errc() || end != port.data() + port.size() || value < 1 || value > 65535) {
      return wrong();
    }
    address.port = static_cast<std::uint16_t>(value);
  }
  return address;
}

/// The system's resolver cannot be interrupted, so it runs on a thread of its own that is left
/// behind when it takes too long.
Result<std::vector<tcp::endpoint>>
resolve(const Address &address, std::chrono::milliseconds timeout, const std::string &url) {
  boost::system::error_code error;
  const auto numeric = asio::ip::make_address(address.host, error);
  if (!error) {
    return std::vector{tcp::endpoint(numeric, address.port)};
  }
  using Found = std::pair<int, std::vector<tcp::endpoint>>;
  std::promise<Found> promise;
  std::future<Found> future = promise.get_future();
  std::thread([promise = std::move(promise), address]() mutable {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo *list = nullptr;
    Found found;
    found.first = getaddrinfo(address.host.c_str(), nullptr, &hints, &list);
    for (const addrinfo *it = found.first == 0 ? list : nullptr; it != nullptr; it = it->ai_next) {
      tcp::endpoint endpoint;
      if (it->ai_addrlen <= endpoint.capacity()) {
        std::copy_n(reinterpret_cast<const char *>(it->ai_addr), it->ai_addrlen,
                    reinterpret_cast<char *>(endpoint.data()));
        endpoint.resize(it->ai_addrlen);
        endpoint.port(address.port);
        found.second.push_back(endpoint);
      }
    }
    if (list != nullptr) {
      freeaddrinfo(list);
    }
    promise.set_value(std::move(found));
  }).detach();
  if (future.wait_for(timeout) != std::future_status::ready) {
    return fail(ErrorCode::kTimeout, "{}: the name '{}' was not resolved within {} ms", url,
                address.host, timeout.count());
  }
  Found found = future.get();
  if (found.second.empty()) {
    return fail(ErrorCode::kUnavailable, "{}: cannot resolve '{}': {}", url, address.host,
                gai_strerror(found.first));
  }
  return std::move(found.second);
}

/// The answer's own words, or the first of its bytes.
std::string words_of(const Response &response) {
  if (auto error = error_of(response.body())) {
    return error->substr(0, 300);
  }
  std::string text = response.body().substr(0, 80);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '.');
  return text.empty() ? std::string(response.reason()) : text;
}

} // namespace

class DcClient::Impl {
public:
  Impl(DcClientOptions options, Address address)
      : options_(std::move(options)), address_(std::move(address)) {}

  /// One HTTP exchange, tried again on overload; blocks.
  Result<Response> exchange(http::verb method, const std::string &path, std::string body);
  std::vector<Result<InferResponse>> infer_all(std::size_t count,
                                               const std::function<InferRequest(std::size_t)> &make,
                                               const std::function<void(std::size_t)> &done);

  const DcClientOptions &options() const noexcept { return options_; }

private:
  using Done = std::function<void(Result<Response>)>;

  /// A connection with at most one exchange under way.
  struct Connection {
    explicit Connection(asio::io_context &io) : stream(io), pause(io) {}
    beast::tcp_stream stream;
    asio::steady_timer pause;
    beast::flat_buffer buffer;
    http::request<http::string_body> request;
    std::optional<http::response_parser<http::string_body>> parser;
    Done done;
    bool open = false;
    bool reused = false; ///< the exchange began on a connection that had already served one
    int retries = 0;
  };

  Result<void> resolve_once();
  void begin(Connection &c, http::verb method, const std::string &path, std::string body,
             Done done);
  void connect(Connection &c);
  void send(Connection &c);
  void receive(Connection &c);
  void receive_body(Connection &c);
  /// An exchange broke. A kept-alive connection may have been closed by the server meanwhile: then
  /// one more try on a fresh one.
  void broken(Connection &c, beast::error_code error, const char *doing);
  void finish(Connection &c, Result<Response> result);
  void next(Connection &c);
  void take_up(Connection &c, std::size_t index, const Result<Response> &result);
  Connection &connection(std::size_t index);
  Error error_of_status(const Response &response) const;
  Result<InferResponse> read(const Result<Response> &result,
                             const std::optional<std::string> &id) const;

  DcClientOptions options_;
  Address address_;
  std::vector<tcp::endpoint> endpoints_;
  asio::io_context io_{1};
  std::vector<std::unique_ptr<Connection>> connections_;

  struct Job { ///< of infer_all
    std::size_t count = 0;
    std::size_t next = 0;
    std::size_t finished = 0;
    int failures = 0; ///< in a row
    std::optional<Error> gave_up;
    const std::function<InferRequest(std::size_t)> *make = nullptr;
    const std::function<void(std::size_t)> *done = nullptr;
    std::vector<std::optional<std::string>> ids;
    std::vector<std::optional<Result<InferResponse>>> results;
  };
  Job job_;
};

Result<void> DcClient::Impl::resolve_once() {
  if (endpoints_.empty()) {
    KESTREL_ASSIGN(endpoints_, resolve(address_, options_.connect_timeout, options_.url));
  }
  return {};
}

DcClient::Impl::Connection &DcClient::Impl::connection(std::size_t index) {
  while (connections_.size() <= index) {
    connections_.push_back(std::make_unique<Connection>(io_));
  }
  return *connections_[index];
}

void DcClient::Impl::begin(Connection &c, http::verb method, const std::string &path,
                           std::string body, Done done) {
  c.request = {};
  c.request.version(11);
  c.request.method(method);
  c.request.target(path);
  const bool v6 = address_.host.find(':') != std::string::npos;
  c.request.set(http::field::host, fmt::format("{}{}{}:{}", v6 ? "[" : "", address_.host,
                                               v6 ? "]" : "", address_.port));
  c.request.set(http::field::user_agent, "kestrel");
  if (method == http::verb::post) {
    c.request.set(http::field::content_type, "application/json");
  }
  c.request.body() = std::move(body);
  c.request.prepare_payload();
  c.done = std::move(done);
  c.retries = 0;
  c.reused = c.open;
  c.open ? send(c) : connect(c);
}

void DcClient::Impl::connect(Connection &c) {
  c.open = false;
  c.reused = false;
  c.buffer.clear();
  c.stream.close();
  c.stream.expires_after(options_.connect_timeout);
  c.stream.async_connect(endpoints_, [this, &c](beast::error_code error, const tcp::endpoint &) {
    if (error) {
      c.stream.close();
      if (error == beast::error::timeout) {
        finish(c, fail(ErrorCode::kTimeout, "{}: no connection within {} ms", options_.url,
                       options_.connect_timeout.count()));
      } else {
        finish(c, fail(ErrorCode::kUnavailable, "{}: cannot connect: {}", options_.url,
                       error.message()));
      }
      return;
    }
    beast::error_code ignored;
    c.stream.socket().set_option(tcp::no_delay(true), ignored);
    c.open = true;
    send(c);
  });
}

void DcClient::Impl::send(Connection &c) {
  c.stream.expires_after(options_.response_timeout); // for sending and receiving together
  http::async_write(c.stream, c.request, [this, &c](beast::error_code error, std::size_t) {
    error ? broken(c, error, "sending the request") : receive(c);
  });
}

void DcClient::Impl::receive(Connection &c) {
  c.parser.emplace();
  c.parser->body_limit(options_.max_response_bytes);
  // The header alone first: room for a body is made as its announced length says.
  http::async_read_header(
      c.stream, c.buffer, *c.parser, [this, &c](beast::error_code error, std::size_t) {
        if (error) {
          broken(c, error, "reading the answer");
        } else if (const auto length = c.parser->content_length();
                   length && *length > options_.max_response_bytes) {
          broken(c, http::make_error_code(http::error::body_limit), "reading the answer");
        } else {
          receive_body(c);
        }
      });
}

void DcClient::Impl::receive_body(Connection &c) {
  http::async_read(c.stream, c.buffer, *c.parser, [this, &c](beast::error_code error, std::size_t) {
    if (error) {
      broken(c, error, "reading the answer");
      return;
    }
    if (!c.parser->keep_alive()) {
      c.open = false;
      c.stream.close();
    }
    Response response = c.parser->release();
    if (response.result() == http::status::service_unavailable &&
        c.request.method() == http::verb::post && c.retries < options_.overload_retries) {
      ++c.retries;
      c.parser.reset();
      unsigned seconds = 1;
      const auto text = response[http::field::retry_after];
      std::from_chars(text.data(), text.data() + text.size(), seconds);
      // Short first: a full queue empties in milliseconds. Never longer than a second.
      const auto pause = std::min<std::chrono::milliseconds>(
          std::chrono::milliseconds(50) * (1 << std::min(c.retries, 5)),
          std::chrono::milliseconds(1000) * std::min(seconds, 1U));
      c.stream.expires_never();
      c.pause.expires_after(pause);
      c.pause.async_wait([this, &c](beast::error_code) {
        c.reused = c.open;
        c.open ? send(c) : connect(c);
      });
      return;
    }
    finish(c, std::move(response));
  });
}

void DcClient::Impl::broken(Connection &c, beast::error_code error, const char *doing) {
  c.open = false;
  c.stream.close();
  if (error == beast::error::timeout) {
    finish(c, fail(ErrorCode::kTimeout, "{}: no complete answer within {} ms", options_.url,
                   options_.response_timeout.count()));
    return;
  }
  const bool nothing_read = !c.parser || !c.parser->got_some();
  if (c.reused && nothing_read && error != http::error::body_limit) {
    connect(c);
    return;
  }
  if (error == http::error::body_limit) {
    finish(c, fail(ErrorCode::kParse, "{}: the answer is larger than {} bytes", options_.url,
                   options_.max_response_bytes));
  } else if (error == http::error::end_of_stream || error == http::error::partial_message) {
    finish(c, fail(ErrorCode::kUnavailable,
                   "{}: the connection was closed before the answer was "
                   "complete",
                   options_.url));
  } else if (error.category() == http::make_error_code(http::error::end_of_stream).category()) {
    finish(c, fail(ErrorCode::kParse, "{}: the answer is not HTTP ({})", options_.url,
                   error.message()));
  } else {
    finish(c, fail(ErrorCode::kUnavailable, "{}: {}: {}", options_.url, doing, error.message()));
  }
}

void DcClient::Impl::finish(Connection &c, Result<Response> result) {
  if (c.open) {
    c.stream.expires_never();
  }
  c.parser.reset();
  Done done = std::move(c.done);
  c.done = nullptr;
  done(std::move(result));
}

Result<Response> DcClient::Impl::exchange(http::verb method, const std::string &path,
                                          std::string body) {
  KESTREL_TRY(resolve_once());
  std::optional<Result<Response>> result;
  begin(connection(0), method, path, std::move(body),
        [&](Result<Response> r) { result = std::move(r); });
  io_.restart();
  io_.run();
  if (!result) {
    return fail(ErrorCode::kInternal, "{}: the exchange ended without a result", options_.url);
  }
  if (*result && (**result).result() != http::status::ok) {
    return error_of_status(**result);
  }
  return std::move(*result);
}

Error DcClient::Impl::error_of_status(const Response &response) const {
  const unsigned status = response.result_int();
  const ErrorCode code = status == 404   ? ErrorCode::kNotFound
                         : status == 503 ? ErrorCode::kUnavailable
                         : status >= 500 ? ErrorCode::kDevice
                         : status >= 400 ? ErrorCode::kInvalidArgument
                                         : ErrorCode::kParse;
  return fail(code, "{}: status {}: {}", options_.url, status, words_of(response));
}

Result<InferResponse> DcClient::Impl::read(const Result<Response> &result,
                                           const std::optional<std::string> &id) const {
  if (!result) {
    return result.error();
  }
  if (result->result() != http::status::ok) {
    return error_of_status(*result);
  }
  auto response = parse_infer_response(result->body());
  if (!response) {
    return fail(ErrorCode::kParse, "{}: the answer is not an infer response: {}", options_.url,
                response.error().message);
  }
  if (response->model_name != options_.model || (id && response->id != id)) {
    return fail(ErrorCode::kParse,
                "{}: the answer belongs to another request (model '{}', id '{}')", options_.url,
                response->model_name.substr(0, 100), response->id.value_or("").substr(0, 100));
  }
  return response;
}

std::vector<Result<InferResponse>>
DcClient::Impl::infer_all(std::size_t count, const std::function<InferRequest(std::size_t)> &make,
                          const std::function<void(std::size_t)> &done) {
  job_ = Job{};
  job_.count = count;
  job_.make = &make;
  job_.done = &done;
  job_.ids.resize(count);
  job_.results.resize(count);
  if (auto resolved = resolve_once(); !resolved) {
    job_.gave_up = resolved.error();
  } else {
    const std::size_t wanted = std::max<std::size_t>(1, options_.connections);
    for (std::size_t i = 0; i < std::min(wanted, count); ++i) {
      next(connection(i));
    }
    io_.restart();
    io_.run();
  }
  std::vector<Result<InferResponse>> results;
  results.reserve(count);
  for (auto &result : job_.results) {
    results.push_back(result ? std::move(*result)
                             : Result<InferResponse>(job_.gave_up.value_or(
                                   fail(ErrorCode::kInternal, "{}: not tried", options_.url))));
  }
  job_ = Job{};
  return results;
}

void DcClient::Impl::next(Connection &c) {
  if (job_.gave_up || job_.next == job_.count) {
    return;
  }
  const std::size_t index = job_.next++;
  InferRequest request = (*job_.make)(index);
  job_.ids[index] = request.id;
  begin(c, http::verb::post, fmt::format("/v2/models/{}/infer", options_.model), to_json(request),
        [this, &c, index](const Result<Response> &result) { take_up(c, index, result); });
}

void DcClient::Impl::take_up(Connection &c, std::size_t index, const Result<Response> &result) {
  auto answer = read(result, job_.ids[index]);
  if (answer) {
    job_.failures = 0;
  } else if (++job_.failures >= options_.failures_to_give_up && !job_.gave_up) {
    job_.gave_up = answer.error();
  }
  job_.results[index] = std::move(answer);
  ++job_.finished;
  if (*job_.done) {
    (*job_.done)(job_.finished);
  }
  next(c);
}

DcClient::DcClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DcClient::DcClient(DcClient &&) noexcept = default;
DcClient &DcClient::operator=(DcClient &&) noexcept = default;
DcClient::~DcClient() = default;

Result<DcClient> DcClient::create(const DcClientOptions &options) {
  KESTREL_ASSIGN(Address address, parse_url(options.url));
  if (options.model.empty() || options.model.find_first_of("/?#% \r\n\t") != std::string::npos) {
    return fail(ErrorCode::kInvalidArgument, "'{}' is not a model name", options.model);
  }
  return DcClient(std::make_unique<Impl>(options, std::move(address)));
}

const DcClientOptions &DcClient::options() const noexcept { return impl_->options(); }

Result<void> DcClient::ready() {
  KESTREL_TRY(impl_->exchange(http::verb::get, "/v2/health/ready", {}));
  KESTREL_TRY(impl_->exchange(http::verb::get,
                              fmt::format("/v2/models/{}/ready", impl_->options().model), {}));
  return {};
}

Result<std::string> DcClient::model_metadata() {
  KESTREL_ASSIGN(
      Response response,
      impl_->exchange(http::verb::get, fmt::format("/v2/models/{}", impl_->options().model), {}));
  if (!nlohmann::json::accept(response.body())) {
    return fail(ErrorCode::kParse, "{}: the model's metadata is not JSON", impl_->options().url);
  }
  return std::move(response.body());
}

Result<InferResponse> DcClient::infer(const InferRequest &request) {
  return std::move(infer_all(1, [&](std::size_t) { return request; }).front());
}

std::vector<Result<InferResponse>>
DcClient::infer_all(std::size_t count, const std::function<InferRequest(std::size_t)> &request,
                    const std::function<void(std::size_t)> &done) {
  return impl_->infer_all(count, request, done);
}

DcAnswers DcClient::classify(std::span<const std::uint8_t> images,
                             const std::vector<std::int64_t> &shape, std::size_t classes,
                             std::size_t batch, const std::function<void(std::size_t)> &done) {
  std::size_t size = 1;
  for (const std::int64_t extent : shape) {
    size *= static_cast<std::size_t>(extent);
  }
  DcAnswers out;
  if (size == 0 || batch == 0 || images.size() % size != 0) {
    out.error = fail(ErrorCode::kInvalidArgument, "{} values are not whole images of {}",
                     images.size(), size);
    return out;
  }
  const std::size_t count = images.size() / size;
  out.answers.resize(count);
  const auto images_of = [&](std::size_t i) { return std::min(batch, count - i * batch); };
  const std::size_t requests = (count + batch - 1) / batch;
  const auto results = infer_all(
      requests,
      [&](std::size_t i) {
        const std::size_t n = images_of(i);
        const auto pixels = images.subspan(i * batch * size, n * size);
        InferRequest request;
        request.id = fmt::format("{}", i);
        Tensor tensor{"image",
                      {static_cast<std::int64_t>(n)},
                      std::vector<std::uint8_t>(pixels.begin(), pixels.end())};
        tensor.shape.insert(tensor.shape.end(), shape.begin(), shape.end());
        request.inputs.push_back(std::move(tensor));
        request.outputs = {"probabilities"};
        return request;
      },
      [&](std::size_t finished) {
        if (done) {
          done(std::min(count, finished * batch));
        }
      });
  for (std::size_t i = 0; i < requests; ++i) {
    auto answers = results[i] ? read_answers(*results[i], images_of(i), classes)
                              : Result<std::vector<DcAnswer>>(results[i].error());
    if (!answers) {
      if (!out.error) {
        out.error = results[i] ? fail(answers.error().code, "{}: {}", options().url,
                                      answers.error().message)
                               : answers.error();
      }
      continue;
    }
    for (std::size_t k = 0; k < answers->size(); ++k) {
      out.answers[i * batch + k] = (*answers)[k];
    }
    out.answered += answers->size();
  }
  return out;
}

Result<std::vector<DcAnswer>> read_answers(const InferResponse &response, std::size_t count,
                                           std::size_t classes) {
  const Tensor *tensor = response.find("probabilities");
  if (tensor == nullptr) {
    return fail(ErrorCode::kParse, "the answer has no output 'probabilities'");
  }
  const auto *values = std::get_if<std::vector<float>>(&tensor->data);
  if (values == nullptr || tensor->shape != std::vector{static_cast<std::int64_t>(count),
                                                        static_cast<std::int64_t>(classes)}) {
    return fail(ErrorCode::kParse, "the output 'probabilities' is {} [{}], expected FP32 [{}, {}]",
                to_string(tensor->datatype()), fmt::join(tensor->shape, ", "), count, classes);
  }
  std::vector<DcAnswer> answers;
  answers.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto row = std::span(*values).subspan(i * classes, classes);
    double sum = 0;
    bool sane = true;
    for (const float p : row) {
      sane = sane && p >= 0.0F && p <= 1.0001F;
      sum += static_cast<double>(p);
    }
    if (!sane || std::abs(sum - 1.0) > 1e-2) {
      return fail(ErrorCode::kParse, "the probabilities of image {} are not a distribution", i);
    }
    const auto top = std::max_element(row.begin(), row.end());
    answers.push_back(DcAnswer{static_cast<int>(top - row.begin()), *top});
  }
  return answers;
}

} // namespace kestrel::serve
