#pragma once

// A server played by the test: it listens where a domain's primary would, and hands out a region
// that is sound, or spoiled in one way.

#include "cohort/domain/region_layout.hpp"
#include "cohort/domain/region_mapping.hpp"
#include "cohort/ipc/peers.hpp"
#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/wire.hpp"
#include "cohort/memory/window.hpp"
#include "process/living_domain.hpp"
#include "support/scratch_directory.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cohort::test {

/// A region with one memseg list and nothing in it, and the answer that announces it.
class fake_region {
public:
    static constexpr std::size_t bytes = align_up(sizeof(region_layout), std::size_t{4096}) + 16384;
    static constexpr std::size_t segment_bytes = 1_MiB;

    fake_region()
        : control{new_file("control", bytes)}
        , segments{new_file("segments", segment_bytes)}
        , layout_{map(control.get())}
    {
        auto& header = layout_->header;
        header.magic = region_header::magic_value;
        header.layout_hash = layout_hash();
        header.region_bytes = bytes;
        header.window_base = window_slot_base(1);
        header.window_bytes = window_slot_bytes;
        header.state.store(static_cast<std::uint32_t>(region_state::ready));
        header.name = fixed_name<64>{"fake"};
        auto& list = layout_->memory.lists[0];
        list.page_bytes = 4096;
        list.base = header.window_base + control_reserve_bytes;
        list.max_bytes = segment_bytes;
        // Behind the layout: 64 entries, then the map of 256 pages.
        auto* const tables = reinterpret_cast<region_layout*>(header.window_base) + 1;
        layout_->memory.list_count = 1;
        layout_->memory.zone_count = 64;
        layout_->memory.zones = reinterpret_cast<memzone_layout*>(tables);
        list.page_map = reinterpret_cast<std::atomic<std::uint64_t>*>(layout_->memory.zones + 64);

        answer.segment_lists = 1;
        answer.layout_hash = header.layout_hash;
        answer.window_base = header.window_base;
        answer.window_bytes = header.window_bytes;
        answer.region_bytes = header.region_bytes;
        descriptors = {control.get(), segments.get()};
    }
    ~fake_region() { ::munmap(static_cast<void*>(layout_), bytes); }
    fake_region(const fake_region&) = delete;
    fake_region& operator=(const fake_region&) = delete;

    [[nodiscard]] region_layout& layout() noexcept { return *layout_; }
    void set_length(const file_descriptor& file, std::size_t length)
    {
        if (::ftruncate(file.get(), static_cast<off_t>(length)) != 0)
            throw std::system_error{errno, std::generic_category(), "ftruncate"};
    }
    /// The content of the control file, however long it is now.
    [[nodiscard]] std::vector<std::byte> content() const
    {
        struct stat status {};
        ::fstat(control.get(), &status);
        std::vector<std::byte> all(static_cast<std::size_t>(status.st_size));
        if (::pread(control.get(), all.data(), all.size(), 0) != status.st_size)
            throw std::system_error{errno, std::generic_category(), "pread"};
        return all;
    }

    file_descriptor control;
    file_descriptor segments;
    file_descriptor no_file = ipc::new_eventfd();
    ipc::wire::attach_reply answer{.sentence = {}};
    std::vector<int> descriptors;  ///< as an observer gets them

private:
    static file_descriptor new_file(const char* name, std::size_t length)
    {
        file_descriptor made{::memfd_create(name, MFD_CLOEXEC)};
        if (!made || ::ftruncate(made.get(), static_cast<off_t>(length)) != 0)
            throw std::system_error{errno, std::generic_category(), "memfd_create"};
        return made;
    }
    static region_layout* map(int fd)
    {
        void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED)
            throw std::system_error{errno, std::generic_category(), "mmap"};
        return ::new (at) region_layout;
    }

    region_layout* layout_;
};

/// Listens as the primary of a domain "fake".
class fake_server {
public:
    fake_server()
    {
        std::filesystem::create_directory(place());
        std::filesystem::permissions(place(), std::filesystem::perms::owner_all);
        listener_ = ipc::listen_at(socket());
    }

    [[nodiscard]] std::filesystem::path place() const { return directory_.path() / "fake"; }
    [[nodiscard]] std::string socket() const { return place() / "primary.sock"; }
    [[nodiscard]] int listener() const noexcept { return listener_.get(); }

    /// Takes the next newcomer's connection and reads its request. Throws when none comes.
    void accept()
    {
        if (!ipc::wait_readable(listener_.get(), deadline_in(patience)))
            throw std::runtime_error{"nobody came"};
        connection_ = file_descriptor{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
        alignas(8) std::array<std::byte, ipc::wire::max_bytes> buffer;
        if (!ipc::wait_readable(connection_.get(), deadline_in(patience)))
            throw std::runtime_error{"the newcomer asks nothing"};
        const auto got = ipc::receive_message(connection_.get(), buffer);
        if (!ipc::wire::as<ipc::wire::attach_request>(std::span{buffer}.first(got.bytes),
                                                      ipc::wire::kind::attach_request))
            throw std::runtime_error{"the newcomer sends no request"};
    }
    void send(std::span<const std::byte> bytes, std::span<const int> descriptors = {})
    {
        if (!ipc::send_message(connection_.get(), bytes, descriptors))
            throw std::runtime_error{"the newcomer does not take the answer"};
    }
    void hang_up() noexcept { connection_ = file_descriptor{}; }

private:
    scratch_runtime_directory directory_;
    file_descriptor listener_;
    file_descriptor connection_;
};

}  // namespace cohort::test
