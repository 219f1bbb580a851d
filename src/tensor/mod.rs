//! The one place that names burn's backend and devices.
//!
//! One `Dispatch` backend serves every device, with and without gradients: [`autodiff`] gives the device on which
//! operations are recorded. Tensors of the plain and of the recording device must not meet in one operation.

#[allow(unsafe_code, reason = "foreign libraries can only be probed by loading them")]
mod device;

use burn::tensor::{DType, TensorData};

pub use device::{DeviceChoice, DeviceError, name, usable_bytes};

/// The backend behind every tensor: chosen at run time by the device.
pub type Backend = burn::Dispatch;
/// Where tensors live.
pub type Device = burn::DispatchDevice;
/// A tensor of D dimensions in single precision.
pub type Tensor<const D: usize> = burn::tensor::Tensor<Backend, D>;

/// The processor.
///
/// Never use `Device::default()`: built with CUDA it means the GPU, present or not.
pub fn cpu() -> Device {
    Device::Flex(Default::default())
}

/// The same device, recording operations for the backward pass.
pub fn autodiff(device: &Device) -> Device {
    Device::autodiff(device.clone())
}

/// Whether tensors of this device, recording or not, are host memory.
pub fn is_cpu(device: &Device) -> bool {
    // Burn's comparison looks through the recording.
    *device == cpu()
}

/// Whether tensors of this device can be in bfloat16.
pub fn supports_bfloat(device: &Device) -> bool {
    <Backend as burn::tensor::backend::Backend>::supports_dtype(device, DType::BF16)
}

/// Copies row-major `values` to `device`.
pub fn from_slice<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    from_vec(values.to_vec(), shape, device)
}

/// Moves row-major `values` to `device`, without a copy on the CPU.
pub fn from_vec<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The values of a tensor, row-major, on the host.
pub fn into_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().to_vec().expect("every tensor of the project is in single precision")
}

/// The identity matrix `[size, size]`.
pub fn identity(size: usize, device: &Device) -> Tensor<2> {
    Tensor::eye(size, device)
}
