//! Makes of the tensors of all families those that are computed with: queries, keys and values in one, and the halves of
//! gated perceptrons.

use std::collections::BTreeMap;

use super::state_dict::Tensor;

/// What does not fit together: a tensor and what is wrong with it.
pub type Misfit = (String, String);

/// Joins the parts of one block, in place; see `names` for what the parts are called.
pub fn join_block(tensors: &mut BTreeMap<String, Tensor>, block: &str) -> Result<(), Misfit> {
    const PARTS: [&str; 3] = ["q", "k", "v"];
    let name = |part: &str| format!("{block}.{part}");
    let weight = name("attn.qkv.weight");
    if PARTS.iter().any(|part| tensors.contains_key(&name(&format!("attn.{part}.weight")))) {
        stack(tensors, &PARTS.map(|part| name(&format!("attn.{part}.weight"))), &weight)?;
    }
    let bias = name("attn.qkv.bias");
    let biases = PARTS.map(|part| name(&format!("attn.{part}.bias")));
    if let Some(weight) = tensors.get(&weight) {
        // A shape may state rows without end where there are no columns.
        let rows = weight.shape.first().copied().filter(|&rows| rows <= weight.values.len() && rows % 3 == 0);
        let given = biases.iter().any(|bias| tensors.contains_key(bias));
        if let Some(rows) = rows.filter(|_| given || !tensors.contains_key(&bias)) {
            if given {
                for part in &biases {
                    tensors.entry(part.clone()).or_insert_with(|| Tensor::zeros(part, rows / 3));
                }
                stack(tensors, &biases, &bias)?;
            } else {
                tensors.insert(bias.clone(), Tensor::zeros(&bias, rows));
            }
        }
    }
    mask_bias(tensors, &bias, &name("attn.qkv.bias_mask"))?;
    for part in ["weight", "bias"] {
        let [gate, up, first] = ["gate", "up", "fc1"].map(|layer| name(&format!("mlp.{layer}.{part}")));
        // `up` alone is a plain perceptron.
        if tensors.contains_key(&gate) {
            stack(tensors, &[gate, up], &first)?;
        } else if tensors.contains_key(&up) {
            stack(tensors, &[up], &first)?;
        }
    }
    Ok(())
}

/// Puts the rows of `parts`, which are equally many, one below the other under `name`.
fn stack(tensors: &mut BTreeMap<String, Tensor>, parts: &[String], name: &str) -> Result<(), Misfit> {
    let whole = tensors.get(name).map(|whole| whole.source.clone());
    let mut joined: Option<Tensor> = None;
    let mut shape = Vec::new();
    for part in parts {
        let beside = || joined.as_ref().map_or("its other parts", |joined| &joined.source).to_string();
        let tensor = tensors.remove(part).ok_or_else(|| {
            let reason = format!("is missing; expected it beside {}", beside());
            (part.clone(), reason)
        })?;
        if let Some(whole) = &whole {
            return Err((
                tensor.source,
                format!("is there beside {whole}, which has the same numbers; expected one of both"),
            ));
        }
        match &mut joined {
            None => {
                shape.clone_from(&tensor.shape);
                joined = Some(tensor);
            }
            Some(joined) if tensor.shape == shape => {
                if let Some(rows) = joined.shape.first_mut() {
                    *rows = rows.saturating_add(shape[0]);
                }
                joined.values.extend(tensor.values);
            }
            Some(joined) => {
                let reason = format!("has shape {:?}, expected {shape:?}, that of {}", tensor.shape, joined.source);
                return Err((tensor.source, reason));
            }
        }
    }
    tensors.extend(joined.map(|joined| (name.to_string(), joined)));
    Ok(())
}

/// DINOv3 trains a bias of keys that it multiplies by 0; what is stored there means nothing.
fn mask_bias(tensors: &mut BTreeMap<String, Tensor>, bias: &str, mask: &str) -> Result<(), Misfit> {
    let Some(mask) = tensors.remove(mask) else { return Ok(()) };
    let Some(bias) = tensors.get_mut(bias) else { return Ok(()) };
    if mask.shape != bias.shape {
        let reason = format!("has shape {:?}, expected {:?}, that of {}", mask.shape, bias.shape, bias.source);
        return Err((mask.source, reason));
    }
    for (value, mask) in bias.values.iter_mut().zip(mask.values) {
        *value = if mask == 0.0 { 0.0 } else { *value * mask };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(given: &[(&str, &[usize], &[f32])]) -> BTreeMap<String, Tensor> {
        let tensor = |(name, shape, values): &(&str, &[usize], &[f32])| {
            let source = format!("stored.{name}");
            (format!("b.{name}"), Tensor { source, shape: shape.to_vec(), values: values.to_vec() })
        };
        given.iter().map(tensor).collect()
    }

    /// Name, shape and values.
    type Named = (String, Vec<usize>, Vec<f32>);

    fn joined(given: &[(&str, &[usize], &[f32])]) -> Result<Vec<Named>, Misfit> {
        let mut tensors = tensors(given);
        join_block(&mut tensors, "b")?;
        Ok(tensors.into_iter().map(|(name, tensor)| (name, tensor.shape, tensor.values)).collect())
    }

    #[test]
    fn queries_keys_and_values_become_one_layer_and_absent_biases_zero() {
        let weights: [(&str, &[usize], &[f32]); 3] = [
            ("attn.v.weight", &[1, 2], &[5.0, 6.0]),
            ("attn.q.weight", &[1, 2], &[1.0, 2.0]),
            ("attn.k.weight", &[1, 2], &[3.0, 4.0]),
        ];
        let weight = ("b.attn.qkv.weight".to_string(), vec![3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let bias = |values: &[f32]| ("b.attn.qkv.bias".to_string(), vec![3], values.to_vec());
        assert_eq!(joined(&weights).unwrap(), [bias(&[0.0; 3]), weight.clone()]);
        let given: [(&str, &[usize], &[f32]); 2] = [("attn.q.bias", &[1], &[7.0]), ("attn.v.bias", &[1], &[9.0])];
        assert_eq!(joined(&[&weights[..], &given].concat()).unwrap(), [bias(&[7.0, 0.0, 9.0]), weight.clone()]);
        let values = weight.2.clone();
        let fused: (&str, &[usize], &[f32]) = ("attn.qkv.weight", &[3, 2], &values);
        assert_eq!(joined(&[&[fused][..], &given].concat()).unwrap(), [bias(&[7.0, 0.0, 9.0]), weight]);

        let (name, reason) = joined(&weights[..2]).unwrap_err();
        assert!(
            name == "b.attn.k.weight" && reason.contains("missing") && reason.contains("stored.attn.q"),
            "{reason}"
        );
        let wide: (&str, &[usize], &[f32]) = ("attn.k.weight", &[2, 1], &[0.0; 2]);
        let (name, reason) = joined(&[weights[0], weights[1], wide]).unwrap_err();
        assert!(name == "stored.attn.k.weight" && reason.contains("[2, 1], expected [1, 2]"), "{reason}");
        let (name, _) = joined(&[fused, weights[0], weights[1], weights[2]]).unwrap_err();
        assert_eq!(name, "stored.attn.q.weight");
        // Rows without columns would be a bias of any size.
        assert_eq!(joined(&[("attn.qkv.weight", &[3 << 50, 0], &[])]).unwrap().len(), 1);
    }

    #[test]
    fn a_masked_bias_is_zero_whatever_is_stored() {
        let weight: (&str, &[usize], &[f32]) = ("attn.qkv.weight", &[3, 1], &[1.0; 3]);
        let bias: (&str, &[usize], &[f32]) = ("attn.qkv.bias", &[3], &[1.0, f32::NAN, 3.0]);
        let mask: (&str, &[usize], &[f32]) = ("attn.qkv.bias_mask", &[3], &[1.0, 0.0, 1.0]);
        assert_eq!(joined(&[weight, bias, mask]).unwrap()[0].2, [1.0, 0.0, 3.0]);
        let short: (&str, &[usize], &[f32]) = ("attn.qkv.bias_mask", &[2], &[1.0, 0.0]);
        assert!(joined(&[weight, bias, short]).unwrap_err().1.contains("[2], expected [3]"));
    }

    #[test]
    fn the_gate_of_a_perceptron_comes_first() {
        let up: (&str, &[usize], &[f32]) = ("mlp.up.weight", &[1, 1], &[2.0]);
        let gate: (&str, &[usize], &[f32]) = ("mlp.gate.weight", &[1, 1], &[1.0]);
        let first = |shape: &[usize], values: &[f32]| ("b.mlp.fc1.weight".to_string(), shape.to_vec(), values.to_vec());
        assert_eq!(joined(&[up, gate]).unwrap(), [first(&[2, 1], &[1.0, 2.0])]);
        assert_eq!(joined(&[up]).unwrap(), [first(&[1, 1], &[2.0])]);
        assert_eq!(joined(&[gate]).unwrap_err().0, "b.mlp.up.weight");
    }
}
