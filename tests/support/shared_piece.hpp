#pragma once
// Memory that a user brings: a file without pages of the domain, mapped at an address of one's own.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace cohort::test {

/// Behind the last slot of the window area: nothing lies there, in sanitizer builds neither.
inline constexpr std::uintptr_t piece_address = 0x5551'0000'0000;
inline constexpr std::size_t piece_bytes = 1 << 20;

/// A piece of shared memory; mapped anew under the same path it has the same bytes.
class shared_piece {
public:
    explicit shared_piece(const std::filesystem::path& file, std::uintptr_t address = piece_address,
                          std::size_t bytes = piece_bytes)
        : bytes_{bytes}
    {
        const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0 && ::ftruncate(fd, static_cast<off_t>(bytes)) == 0)
            place_ = ::mmap(reinterpret_cast<void*>(address), bytes, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
        const int number = errno;
        if (fd >= 0)
            ::close(fd);
        if (place_ == MAP_FAILED)
            throw std::system_error{number, std::generic_category(), file.string()};
    }
    ~shared_piece() { ::munmap(place_, bytes_); }
    shared_piece(const shared_piece&) = delete;
    shared_piece& operator=(const shared_piece&) = delete;

    [[nodiscard]] std::span<std::byte> bytes() const noexcept
    {
        return {static_cast<std::byte*>(place_), bytes_};
    }
    [[nodiscard]] bool holds(const void* pointer) const noexcept
    {
        const auto* at = static_cast<const std::byte*>(pointer);
        return at >= bytes().data() && at < bytes().data() + bytes_;
    }

private:
    void* place_ = MAP_FAILED;
    std::size_t bytes_;
};

}  // namespace cohort::test
